"""Importers: one converter per node kind of each source format, and the store that keeps weights out of the IR."""
