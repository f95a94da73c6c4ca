"""
A configuration file as `litekeep init` writes it: what is set, and what could be.

Each key that is not set stands there as a comment with an example, so that nobody has
to look it up; the comments are made from the keys themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from litekeep.config.keys import Key, keys_of
from litekeep.config.notify import NotifySettings, PingSettings
from litekeep.config.places import kind_of
from litekeep.config.settings import (
    DamageSettings,
    DatabaseSettings,
    DrillSettings,
    RetentionSettings,
    Settings,
    SnapshotSettings,
    StatusSettings,
    StoreSettings,
)
from litekeep.config.stream import StreamSettings

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
    **{job: f"https://hc-ping.com/your-ping-key/{job}" for job, _ in keys_of(PingSettings)},
}
_HEAD = """\
# Litekeep's configuration.  Relative paths start from the folder of this file.
# Try it with: litekeep backup --dry-run
"""

_ASSERT = """\
# A question of yours that each drill asks of the restored database:
#
# [[drill.assert]]
# sql = "SELECT count(*) > 0 FROM orders"
"""

_CHANNELS = """\
# Who is told of failures, and of backups that are too old; try it with: litekeep notify test
#
# [[notify.apprise]]
# name = "mail"
# url = { file = "/etc/litekeep/mail-url" }    # mailtos://user:password@example.com
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
    parts.append(_section("[stream]", StreamSettings, {}))
    parts.append(_section("[retention]", RetentionSettings, {}))
    parts.append(_section("[damage]", DamageSettings, {}))
    parts.append(_section("[status]", StatusSettings, {}))
    parts.append(_section("[drill]", DrillSettings, {}))
    parts.append(_ASSERT)
    parts.append(_section("[notify]", NotifySettings, {}))
    parts.append(_section("[notify.ping]", PingSettings, {}))
    parts.append(_CHANNELS)
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
        parts.append(
            _section("[[database]]", DatabaseSettings, values, [name for name, _ in stores])
        )
    return "\n".join(parts)


def _section(
    head: str, section: type[Any], values: dict[str, str], stores: Sequence[str] = ()
) -> str:
    lines = [head] if head else []
    # What is set comes first, in the order of the keys.
    names = [name for name, _ in keys_of(section)]
    lines += [f"{name} = {toml_text(values[name])}" for name in names if name in values]
    for name, key in keys_of(section):
        if name in values or not _is_of_use(section, name, key, values.get("url", ""), stores):
            continue
        lines.append(f"#{name} = {example(name, key, stores)}".ljust(34) + f"  # {key.meaning}")
    if section is DatabaseSettings:
        lines.append("# ... and the keys of [snapshot], for this database alone")
    return "\n".join(lines) + "\n"


def _is_of_use(section: type[Any], name: str, key: Key, url: str, stores: Sequence[str]) -> bool:
    if section is DatabaseSettings:
        of_snapshots = {name for name, _ in keys_of(SnapshotSettings)}
        return name not in of_snapshots and (bool(stores) or name != "stores")
    return not key.stores or kind_of(url) in key.stores


def example(name: str, key: Key, stores: Sequence[str] = ()) -> str:
    """
    Return a value that the key may hold, as TOML; *stores* are the names of those there are.

    >>> example("level", Key("number", "How hard.", low=0, high=22))
    '1'
    """
    if key.kind == "words":
        return f"[{', '.join(map(toml_text, key.allowed[:3]))}]"
    if key.allowed:
        return toml_text(key.allowed[0])
    if name in _EXAMPLES:
        return toml_text(_EXAMPLES[name])
    return {
        "flag": "true",
        "number": str((key.low or 0) + 1),
        "names": f"[{', '.join(map(toml_text, stores[:1] or ('session',)))}]",
        "prefix": '""',
        "secret": f'{{ env = "{name.upper()}" }}',
        "size": '"16 GiB"',
        "duration": '"30s"',
        "share": '"50%"',
        "keep": "{ last = 24, daily = 7, weekly = 5, monthly = 12 }",
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
