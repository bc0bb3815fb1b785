"""Passes of the plan level."""
