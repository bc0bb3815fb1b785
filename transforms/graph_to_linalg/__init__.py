"""From `graph` to `linalg`: what each fusion computes, in structured ops."""
