"""
This module is the floor under a restore: the same library decompresses and writes.

One thread reads the object as gzip and writes what comes out.  Nothing is compared,
checked, synced to the disk or renamed.

    python -m bench.bare OBJECT TARGET
"""

from __future__ import annotations

import shutil
import sys

from isal import igzip

PIECE_SIZE = 1 << 20


def main() -> None:
    """Decompress the file that the arguments name."""
    source, target = sys.argv[1:]
    compressed = igzip.IGzipFile(source, "rb")  # type: ignore[no-untyped-call]  # it has no types
    with compressed, open(target, "wb") as file:
        shutil.copyfileobj(compressed, file, PIECE_SIZE)


if __name__ == "__main__":
    main()
