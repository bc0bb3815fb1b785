"""From `linalg` to `tile`: each fusion as one kernel over tiles."""
