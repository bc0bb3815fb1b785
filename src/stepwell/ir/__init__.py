"""The IR below any dialect: source names, reading and printing of text."""
