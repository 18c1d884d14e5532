"""The built-in distillation methods: one file each, registered like anyone else's in pyproject.toml."""
