"""
Checks of the configuration and of this very installation.

    configuration   the file in force, or that there is none
    secrets         none stands in plain text, and no file of them is open to others
    library         SQLite without the WAL-reset bug, and the extras that are needed
"""

from __future__ import annotations

import importlib.util
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from litekeep.aws.credentials import has_boto3
from litekeep.config.keys import SecretSource
from litekeep.config.secrets import secrets_of
from litekeep.config.settings import Settings
from litekeep.dockername import DockerName
from litekeep.doctor.findings import Finding, fail, ok, warn
from litekeep.doctor.images import secret_keys
from litekeep.errors import MissingExtra
from litekeep.host.schedule import VARIABLES_FILE
from litekeep.notices import is_apprise_needed
from litekeep.notify.channels import missing_apprise
from litekeep.sources import Database
from litekeep.sqlite.connections import library_version
from litekeep.sqlite.versions import has_reset_bug
from litekeep.version import VERSION

#: What the extras of this package bring.
EXTRAS = ("boto3", "docker", "apprise")

_VARIABLES_SIZE_MAX = 1 << 20


def configuration(settings: Settings, databases: Sequence[Database]) -> Iterator[Finding]:
    """Tell which configuration is in force: `configuration`."""
    name = "configuration"
    if settings.file is not None and not databases:
        hint = "List one in it, or name one: litekeep doctor app.db."
        yield warn(name, "", f"{settings.file} lists no database", hint)
    elif settings.file is not None:
        counts = f"{len(settings.databases)} databases, {len(settings.stores)} stores"
        yield ok(name, "", f"{settings.file}: {counts}")
    elif databases:
        yield ok(name, "", "no file is in force; none is needed")
    else:
        hint = "Name a database (litekeep doctor app.db), or write a file: litekeep init."
        yield warn(name, "", "no file is in force, and no database is named", hint)


def secrets(settings: Settings, *, variables: Path = VARIABLES_FILE) -> Iterator[Finding]:
    """Check how secrets are kept: `secrets`; *variables* is where schedules find theirs."""
    found = [*_in_plain(settings)]
    files = {Path(s.value) for _, s in _sources(settings) if s.kind == "file"}
    files |= {store.credentials_file for store in settings.stores if store.credentials_file}
    if _holds_secrets(variables):
        files.add(variables)
    for path in sorted(files):
        if path.exists() and path.stat().st_mode & stat.S_IROTH:
            hint = f"Take that right away: chmod o-r {path}"
            shown = f"every user of this machine may read {path}, which holds secrets"
            found.append(warn("secrets", "", shown, hint))
    yield from found or [ok("secrets", "", "none stands in plain text where others may read it")]


def library(
    settings: Settings, databases: Sequence[Database], environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Check what this installation consists of: `library`."""
    version = library_version()
    found = []
    if has_reset_bug(version):
        found.append(
            warn(
                "library",
                "",
                f"Litekeep uses SQLite {version}, which has the WAL-reset bug",
                "Install apsw from its wheel, which brings a newer SQLite: pip install -U apsw.",
            )
        )
    found += [fail("library", "", error) for error in _missing(settings, databases, environ)]
    extras = [name for name in EXTRAS if _is_installed(name)]
    shown = f"Litekeep {VERSION}, SQLite {version}; extras: {', '.join(extras) or 'none'}"
    yield from found or [ok("library", "", shown)]


def _missing(
    settings: Settings, databases: Sequence[Database], environ: Mapping[str, str]
) -> Iterator[MissingExtra]:
    is_in_docker = any(isinstance(item.path, DockerName) for item in databases)
    if is_in_docker and not _is_installed("docker"):
        yield MissingExtra(
            "databases in Docker need a part of Litekeep that is not installed",
            hint="Install it with the pip of Litekeep's environment: pip install docker.",
        )
    if is_apprise_needed(settings, environ) and not _is_installed("apprise"):
        yield missing_apprise()
    needs = [f"the profile of {store.name}" for store in settings.stores if store.profile]
    needs += [f"{name}, which is in AWS" for name, s in _sources(settings) if s.kind == "ssm"]
    if needs and not has_boto3():
        yield MissingExtra(
            f"{needs[0]} needs boto3, which is not installed",
            hint="Install it with the pip of Litekeep's environment: pip install boto3.",
        )


def _in_plain(settings: Settings) -> Iterator[Finding]:
    plain = [name for name, source in _sources(settings) if source.kind == "text"]
    file = settings.file
    if not plain or file is None:
        return
    shown = f"{file} holds {', '.join(plain)} in plain text"
    if file.stat().st_mode & stat.S_IROTH:
        shown += ", and every user of this machine may read it"
    yield warn(
        "secrets",
        "",
        shown,
        'Keep it elsewhere: { env = "NAME" }, { file = "PATH" } or { ssm = "/parameter" }; and '
        f"chmod 600 {file}",
    )


def _sources(settings: Settings) -> Iterator[tuple[str, SecretSource]]:
    """Yield each secret of the configuration with its key; an access key's id is none."""
    for name, owner, source in secrets_of(settings):
        if name != "access_key_id":
            yield f"{name} of {owner}", source


def _holds_secrets(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            text = file.read(_VARIABLES_SIZE_MAX).decode(errors="replace")
    except OSError:
        return False  # not there, or closed to us: then it is to others too
    return bool(secret_keys(text))


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
