"""
A program that atheris drives: bytes that are led by what of our code they reach.

    python -m tests.property.fuzz_ltx CORPUS -max_total_time=60
"""

from __future__ import annotations

import sys


def main() -> None:
    """Fuzz, as the arguments say; they are libFuzzer's."""
    import atheris

    with atheris.instrument_imports(include=["litekeep.ltx"]):
        from tests.writers.ltx import read_in_every_way

    atheris.Setup(sys.argv, read_in_every_way)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
