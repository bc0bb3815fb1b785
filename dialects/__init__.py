"""The project's own dialects, one package each, and the interpreters that execute every level."""
