"""
JSON objects that carry a checksum of themselves, so that no flipped bit goes unseen.

    {"id": "...", ..., "self_sha256": "<64 hex digits>"}

`self_sha256` is the SHA-256 of all the other fields, written as JSON in ASCII with sorted
keys and without blanks.  So it holds whatever the indentation and the order of the fields,
and for fields that a later version added.

What the fields mean is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SELF_SHA256 = "self_sha256"


def encode_document(fields: Mapping[str, Any]) -> bytes:
    """
    Return *fields* and their checksum as they are stored: indented, for people read them too.

    >>> print(encode_document({"a": 1}).decode(), end="")
    {
      "a": 1,
      "self_sha256": "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    }
    """
    document = {**fields, SELF_SHA256: _checksum(fields)}
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def decode_document(data: bytes) -> dict[str, Any]:
    """
    Return the fields in *data*, without the checksum.

    Raises:
        ValueError: It is no JSON object, or not the one that its checksum was made of.
    """
    try:
        fields = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError("it is no object")
    recorded = fields.pop(SELF_SHA256, None)
    if recorded is None:
        raise ValueError(f"it has no {SELF_SHA256}")
    if recorded != _checksum(fields):
        raise ValueError(f"{SELF_SHA256} is not that of its other fields")
    return fields


def _checksum(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
