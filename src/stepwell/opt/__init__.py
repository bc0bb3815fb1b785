"""`stepwell-opt`: xDSL's optimizer driver with model files, levels, remarks, checks of meaning and errors a user can act on."""
