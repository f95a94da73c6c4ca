"""
LZ4 frames of any size, piece by piece, as Litestream 0.3 stores them.

A piece of at most 1 MiB is held at a time, whatever the frame says of its size.  The checksum
that a frame may carry of its content is compared by the LZ4 library; a frame that is cut off,
is damaged, or has something behind it, is a FormatError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lz4.frame

from litekeep.errors import FormatError

PIECE_SIZE_MAX = 1 << 20


def inflate(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """
    Yield what the LZ4 frame in *pieces* holds.

    Args:
        pieces: The stored bytes, cut anywhere.

        name: Of what is read, for errors.

    Raises:
        FormatError: It is not one whole LZ4 frame.
    """
    frame = lz4.frame.LZ4FrameDecompressor()
    for piece in pieces:
        if frame.eof:
            raise FormatError(f"{name}: more bytes follow its LZ4 frame")
        try:
            data = frame.decompress(piece, PIECE_SIZE_MAX)
            while data:
                yield data
                if frame.eof or frame.needs_input:
                    break
                data = frame.decompress(b"", PIECE_SIZE_MAX)
        except (RuntimeError, EOFError) as error:  # all that the library raises of its own
            raise FormatError(f"{name}: it is no whole LZ4 frame: {error}") from error
        if frame.unused_data:
            raise FormatError(f"{name}: more bytes follow its LZ4 frame")
    if not frame.eof:
        raise FormatError(f"{name}: its LZ4 frame ends too early")
