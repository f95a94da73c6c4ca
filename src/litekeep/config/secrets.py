"""
Secret settings, fetched when a store is opened and not before.

    "text"                  as it stands in the file
    { env = "NAME" }        an environment variable
    { file = "PATH" }       the contents of a file, without the last line end
    { ssm = "/NAME" }       a parameter of AWS Systems Manager (needs boto3)

No error here shows a value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from litekeep.config.keys import SecretSource, keys_of
from litekeep.config.settings import Settings
from litekeep.errors import ConfigError
from litekeep.secret import Secret

SIZE_MAX = 64 << 10


def secrets_of(settings: Settings) -> Iterator[tuple[str, str, SecretSource]]:
    """Yield each secret of the configuration: its key, what it is of, and where it comes from."""
    told = settings.notify
    sections: list[tuple[str, Any]] = [
        *((store.name, store) for store in settings.stores),
        ("notify.ping", told.ping),
        *((f"notify.webhook {item.name}", item) for item in told.webhooks),
        *((f"notify.apprise {item.name}", item) for item in told.services),
    ]
    for owner, section in sections:
        for name, key in keys_of(type(section)):
            source = getattr(section, name)
            if key.kind == "secret" and source is not None:
                yield name, owner, source


def fetch_secret(source: SecretSource | None, environ: Mapping[str, str]) -> Secret | None:
    """
    Return the value, or None where none is configured.

    Raises:
        ConfigError: It cannot be had, or is empty.

        MissingExtra: It is kept in AWS, and that part is not installed.
    """
    match source:
        case None:
            return None
        case SecretSource("text", text):
            return Secret(text)
        case SecretSource("env", name):
            value = environ.get(name)
            if not value:
                raise ConfigError(
                    f"the environment variable {name}, which holds a secret, is not set",
                    hint="Set it where the command runs: in the unit file, the container or "
                    "cron's environment.",
                )
            return Secret(value)
        case SecretSource("file", path):
            return _read(Path(path))
        case SecretSource(_, parameter):
            # boto3 costs a quarter of a second to import: only who uses it pays.
            from litekeep.aws.parameters import read_parameter

            return read_parameter(parameter)


def _read(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
        value = data.decode().removesuffix("\n").removesuffix("\r")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no file {path}, which should hold a secret",
            hint="Correct the path, or write the secret there, readable by its user alone.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}, which holds a secret: {error.strerror}",
            hint=f"Give user id {os.geteuid()} the right to read it.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}, which holds a secret, is not text",
            hint="It should hold the secret and nothing else.",
        ) from error
    if not value or len(data) > SIZE_MAX:
        raise ConfigError(f"{path} holds no secret", hint="It should hold it and nothing else.")
    return Secret(value)
