"""
A configuration file as `litekeep init` writes it: what is set, and what could be.

Each key that is not set stands there as a comment with an example, so that nobody has
to look it up; the comments are made from the keys themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litekeep.config.places import is_url
from litekeep.config.settings import (
    DatabaseSettings,
    Key,
    Settings,
    SnapshotSettings,
    StoreSettings,
    keys_of,
)

_EXAMPLES = {
    "endpoint": "https://s3.example.com",
    "region": "eu-central-1",
    "profile": "backup",
    "kms_key_id": "alias/backup",
    "storage_class": "STANDARD_IA",
    "account": "myaccount",
    "ca_file": "/etc/ssl/private-ca.pem",
    "credentials_file": "/etc/litekeep/google.json",
    "state_dir": "/var/lib/litekeep",
}
_OF_EVERY_STORE = ("layout",)
_OF_ONE_KIND = {
    "region": "s3",
    "path_style": "s3",
    "profile": "s3",
    "access_key_id": "s3",
    "secret_access_key": "s3",
    "session_token": "s3",
    "encryption": "s3",
    "kms_key_id": "s3",
    "storage_class": "s3",
    "checksum": "s3",
    "account": "az",
    "account_key": "az",
    "sas_token": "az",
    "credentials_file": "gs",
}
_HEAD = """\
# Litekeep's configuration.  Relative paths start from the folder of this file.
# Try it with: litekeep backup --dry-run
"""


def template(
    databases: Sequence[tuple[str, Path]], stores: Sequence[tuple[str, str]], timezone: str
) -> str:
    """
    Return the text of a configuration file.

    Args:
        databases: Names and paths.

        stores: Names and URLs; where there are none, each database is backed up to a
            folder beside it.

        timezone: Of the times in names.
    """
    parts = [_HEAD, _section("", Settings, {"timezone": timezone})]
    parts.append(_section("[snapshot]", SnapshotSettings, {}))
    for name, url in stores:
        parts.append(_section("[[store]]", StoreSettings, {"name": name, "url": url}))
    if not stores:
        parts.append(
            "# Without a [[store]], backups go to <database>-backups beside each database.\n"
            "# A disk that fails takes both: add a store elsewhere, for instance\n"
            "#\n"
            "# [[store]]\n"
            '# name = "s3"\n'
            '# url = "s3://bucket/prefix"\n'
        )
    for name, path in databases:
        values = {"path": str(path), "name": name}
        parts.append(_section("[[database]]", DatabaseSettings, values))
    return "\n".join(parts)


def _section(head: str, section: type[Any], values: dict[str, str]) -> str:
    lines = [head] if head else []
    # What is set comes first, in the order of the keys.
    names = [name for name, _ in keys_of(section)]
    lines += [f"{name} = {toml_text(values[name])}" for name in names if name in values]
    for name, key in keys_of(section):
        if name in values or not _is_of_use(section, name, values.get("url", "")):
            continue
        lines.append(f"#{name} = {example(name, key)}".ljust(34) + f"  # {key.meaning}")
    if section is DatabaseSettings:
        lines.append("# ... and the keys of [snapshot], for this database alone")
    return "\n".join(lines) + "\n"


def _is_of_use(section: type[Any], name: str, url: str) -> bool:
    if section is DatabaseSettings:
        return name not in {name for name, _ in keys_of(SnapshotSettings)}
    if section is StoreSettings:
        kind = url.partition(":")[0].lower() if is_url(url) else "local"
        return name in _OF_EVERY_STORE or (
            kind in ("s3", "gs", "az") and _OF_ONE_KIND.get(name, kind) == kind
        )
    return True


def example(name: str, key: Key) -> str:
    """
    Return a value that the key may hold, as TOML.

    >>> example("level", Key("number", "How hard.", low=0, high=22))
    '1'
    """
    if key.allowed:
        return toml_text(key.allowed[0])
    if name in _EXAMPLES:
        return toml_text(_EXAMPLES[name])
    return {
        "flag": "true",
        "number": str((key.low or 0) + 1),
        "names": "[]",
        "prefix": '""',
        "secret": f'{{ env = "{name.upper()}" }}',
        "size": '"16 GiB"',
        "duration": '"30s"',
        "timezone": '"UTC"',
    }.get(key.kind, toml_text(name))


def toml_text(text: str) -> str:
    r"""
    Return *text* as a TOML string.

    >>> print(toml_text('C:\\a "b"'))
    "C:\\a \"b\""
    """
    escaped = "".join(
        f"\\{character}"
        if character in '"\\'
        else character
        if character.isprintable()
        else f"\\U{ord(character):08x}"
        for character in text
    )
    return f'"{escaped}"'
