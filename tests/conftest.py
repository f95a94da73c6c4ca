"""Loads the servers' fixtures; there is nothing else here."""

pytest_plugins = ["tests.servers.fixtures"]
