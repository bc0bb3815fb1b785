"""What several conversions write with: the walk of a nest, scalar ops on vectors."""
