"""
Which stores there are: from a URL to a `Store`.

    /var/backups/app                      a directory
    file:///var/backups/app               the same
    memory:                               nowhere, for tests
    s3://bucket/prefix                    S3 and what speaks it
    gs://bucket/prefix                    Google Cloud Storage
    az://container/prefix                 Azure Blob Storage

Parameters behind a question mark say where the server is, in Litestream's
spelling or ours: ``s3://b/p?endpoint=http://127.0.0.1:9000&region=us-east-1``.
They win over the options.  Secrets in a URL are refused: URLs are printed,
stored in manifests, and seen in process lists.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from litekeep.errors import UserError
from litekeep.paths import full_path
from litekeep.store.base import Store, is_name
from litekeep.store.directory import DirectoryStore
from litekeep.store.memory import MemoryStore
from litekeep.store.options import StoreOptions

__all__ = ["SCHEMES", "StoreOptions", "open_store"]

SCHEMES = ("file", "memory", "s3", "gs", "az")

_SECRET_HINT = (
    "Give keys by environment variables, a profile, or the configuration: "
    'secret_access_key = { env = "NAME" }.'
)


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """
    Return the store at *url*; nothing is asked of a server yet.

    Raises:
        UserError: The URL or its parameters cannot be understood.
    """
    options = options or StoreOptions()
    if url == "memory:":
        return MemoryStore()
    if "://" not in url:
        _refuse_empty(url)
        return DirectoryStore(full_path(url))
    parts = _split(url)
    if parts.scheme == "file":
        return DirectoryStore(_file_path(parts))
    options = _with_parameters(options, parts)
    return _open_objects(parts.scheme, parts.netloc, _prefix(parts, url), options)


def check_url(url: str) -> None:
    """
    Raise where no store can be at *url*; nothing is opened, and no credentials are needed.

    Raises:
        UserError: The URL or its parameters cannot be understood.
    """
    if url == "memory:":
        return
    if "://" not in url:
        _refuse_empty(url)
        return
    parts = _split(url)
    if parts.scheme == "file":
        _file_path(parts)
    else:
        _with_parameters(StoreOptions(), parts)
        _prefix(parts, url)


def _refuse_empty(path: str) -> None:
    if not path:
        raise UserError(
            "the path of a store is empty", hint="Give a folder, or a URL such as s3://BUCKET."
        )


def _prefix(parts: SplitResult, url: str) -> str:
    """Return the folder in the bucket that *url* names."""
    prefix = unquote(parts.path).strip("/")
    if not parts.netloc:
        raise UserError(
            f"{_plain(parts)} names no bucket", hint=f"Write {parts.scheme}://BUCKET/PREFIX."
        )
    if prefix and not is_name(prefix):
        raise UserError(
            f"{prefix!r} cannot be the prefix of a store",
            hint="Write names with single slashes between them, none of them . or ..",
        )
    return prefix


def _open_objects(scheme: str, bucket: str, prefix: str, options: StoreOptions) -> Store:
    # obstore costs 30 ms to import: only who uses an object store pays.
    from litekeep.store.objects import ObjectsStore
    from litekeep.store.retry import RetryStore

    store = ObjectsStore(scheme, bucket, prefix, options)
    return RetryStore(store, seconds_max=options.retry_seconds)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        has_user = parts.username is not None or parts.password is not None
    except ValueError as error:
        raise UserError(
            "the URL of a store cannot be understood", hint="Write it like s3://BUCKET/PREFIX."
        ) from error
    if has_user or "@" in parts.netloc:
        raise UserError("a store's URL holds a user or a password", hint=_SECRET_HINT)
    if parts.fragment:
        raise UserError(
            f"{_plain(parts)} has a part behind #, which means nothing here",
            hint="Write # as %23 where it belongs to a name.",
        )
    if parts.scheme not in SCHEMES:
        raise UserError(
            f"{parts.scheme}:// is not a kind of store",
            hint=f"Known are a path and {', '.join(f'{name}://' for name in SCHEMES[2:])}.",
        )
    return parts


def _plain(parts: SplitResult) -> str:
    """Return the URL without what may hold a secret, for the words of an error."""
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _file_path(parts: SplitResult) -> Path:
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query:
        raise UserError(
            f"{_plain(parts)} is not the URL of a folder"
            + (": it has parameters" if parts.query else ""),
            hint="Write file:///absolute/path, with three slashes, or the path alone.",
        )
    return Path(os.fsdecode(unquote(parts.path)))


def _is_true(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("it is true or false")
    return text.lower() in ("true", "1")


# Litestream's spelling and ours, without hyphens, underscores and capitals; the field, what
# makes a value of the text, and the kinds of stores that honour it.
_ALL, _S3, _GS, _AZ = ("s3", "gs", "az"), ("s3",), ("gs",), ("az",)
_PARAMETERS: dict[str, tuple[str, Callable[[str], Any], tuple[str, ...]]] = {
    "endpoint": ("endpoint", str, _ALL),
    "region": ("region", str, _S3),
    "pathstyle": ("path_style", _is_true, _S3),
    "forcepathstyle": ("path_style", _is_true, _S3),
    "profile": ("profile", str, _S3),
    "encryption": ("encryption", str, _S3),
    "kmskeyid": ("kms_key_id", str, _S3),
    "storageclass": ("storage_class", str, _S3),
    "checksum": ("checksum", str, _S3),
    "account": ("account", str, _AZ),
    "accountname": ("account", str, _AZ),
    "credentialsfile": ("credentials_file", Path, _GS),
    "cafile": ("ca_file", Path, _ALL),
    "anonymous": ("is_anonymous", _is_true, _ALL),
}
_SECRET_WORDS = ("secret", "key", "token", "password", "sas", "signature", "credential")


def _with_parameters(options: StoreOptions, parts: SplitResult) -> StoreOptions:
    changes = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        plain = name.lower().replace("-", "").replace("_", "")
        known = _PARAMETERS.get(plain)
        if known is None and any(word in plain for word in _SECRET_WORDS):
            raise UserError(f"{name} must not stand in a store's URL", hint=_SECRET_HINT)
        if known is None or parts.scheme not in known[2]:
            fields = sorted({field for field, _, of in _PARAMETERS.values() if parts.scheme in of})
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(fields)}."
            raise UserError(
                f"{name} is not a parameter of a store's URL with {parts.scheme}://", hint=hint
            )
        field, parse, _ = known
        try:
            changes[field] = parse(value)
        except ValueError as error:
            raise UserError(
                f"{name}={value} in a store's URL: {error}", hint=f"Write {name}=true or =false."
            ) from error
    return dataclasses.replace(options, **changes)
