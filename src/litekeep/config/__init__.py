"""What the user wants: the TOML file and the environment, as frozen dataclasses."""
