"""The command, as the shell starts it, and ``python -m litekeep``."""

from __future__ import annotations

from litekeep.cli.signals import end_at_once


def main() -> None:
    """Run the command line of this process; a signal finds a handler from here on."""
    end_at_once()
    from litekeep.cli.main import main as run_main

    run_main()


if __name__ == "__main__":
    main()
