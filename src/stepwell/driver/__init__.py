"""What runs passes over modules: models read, pipelines, stages and levels, observers, reproducers, code made, modules executed."""
