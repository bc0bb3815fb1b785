"""What several conversions write with: the walk of element loops, scalar ops on vectors."""
