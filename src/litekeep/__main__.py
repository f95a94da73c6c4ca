"""The command, started as ``python -m litekeep``."""

from __future__ import annotations

from litekeep.cli.main import main

if __name__ == "__main__":
    main()
