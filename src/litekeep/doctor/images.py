"""
Secrets that would be built into an image: `image-secrets`.

    Dockerfile      there, so the folder is a build context, and `COPY . .` takes all of it
    .env, .env.*    with keys that look like secrets, and values
    .dockerignore   leaves them out, or not

Whoever can pull the image can read them then, and they stay in its layers when a later one
removes the file.  Keys are named, values never.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from litekeep.doctor.dockerignore import Pattern, is_ignored, parse_patterns
from litekeep.doctor.findings import Finding, ok, warn
from litekeep.notices import VARIABLES

NAME = "image-secrets"

_SIZE_MAX = 1 << 20
_SHOWN_MAX = 5
#: Parts of names, as they are separated by underscores.
_SECRET_WORDS = frozenset(
    {
        *("secret", "secrets", "password", "passwd", "passphrase", "pass", "pwd", "salt"),
        *("token", "tokens", "key", "keys", "apikey", "credential", "credentials", "dsn", "auth"),
    }
)
#: What is no secret though it is about one: PUBLIC_KEY, PASSWORD_FILE, AWS_ACCESS_KEY_ID.
_HARMLESS = frozenset({"public", "path", "file", "id", "name", "url"})
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]\s*(.*)")
#: Files of this ending are shown to others on purpose, with nothing real in them.
_EXAMPLES = (".example", ".sample", ".template", ".dist", ".defaults")


def image_secrets(folder: Path) -> Iterator[Finding]:
    """Check a folder, which may be an image's build context."""
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if (_is_dockerfile(entry.name) or _is_environment(entry.name) or _ignores(entry.name))
        and entry.is_file()
    )
    builds = [name for name in names if _is_dockerfile(name)]
    if not builds:
        yield ok(NAME, "", f"no Dockerfile in {folder}")
        return
    secrets = {
        name: keys
        for name in names
        if _is_environment(name) and (keys := secret_keys(_text(folder / name)))
    }
    for build in builds:
        ignoring, patterns = _ignored_by(folder, names, build)
        for name, keys in secrets.items():
            if not is_ignored(name, patterns):
                yield _told(folder, build, name, keys, ignoring)
                return  # one is enough to act
    yield ok(NAME, "", f"no secrets in the build context {folder}")


def secret_keys(text: str) -> tuple[str, ...]:
    """
    Return the keys of an environment file that look like secrets and have a value.

    >>> secret_keys("DEBUG=1\\nSECRET_KEY=abc\\nexport TOKEN='x'\\nEMPTY_PASSWORD=\\n# KEY=1")
    ('SECRET_KEY', 'TOKEN')
    >>> secret_keys("DATABASE_URL=postgres://me:pw@db/x\\nPUBLIC_KEY=x\\nKEY_FILE=/run/key")
    ('DATABASE_URL',)
    """
    found = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        value = match[2].partition(" #")[0].strip().strip("\"'")
        parts = set(re.split(r"[_.]", match[1].lower()))
        is_named_so = bool(parts & _SECRET_WORDS) and not parts & _HARMLESS
        is_ours = match[1] in VARIABLES  # addresses that are as good as a password
        if value and (is_named_so or is_ours or _WITH_PASSWORD.match(value)):
            found.append(match[1])
    return tuple(dict.fromkeys(found))


def _told(
    folder: Path, build: str, name: str, keys: tuple[str, ...], ignoring: str | None
) -> Finding:
    more = f" and {len(keys) - _SHOWN_MAX} more" if len(keys) > _SHOWN_MAX else ""
    why = f"{ignoring} does not leave it out" if ignoring else "there is no .dockerignore"
    return warn(
        NAME,
        "",
        f"{folder / name} holds what look like secrets ({', '.join(keys[:_SHOWN_MAX])}{more}) and "
        f"is in the build context of {build}: {why}",
        f"Write {name} into .dockerignore, and give the secrets another way: Compose's or "
        "BuildKit's secrets, or the SSM Parameter Store. What was built in already is in the "
        "image's layers: change those secrets.",
    )


def _ignored_by(
    folder: Path, names: list[str], build: str
) -> tuple[str | None, tuple[Pattern, ...]]:
    """Return the file that counts for a Dockerfile, and its patterns."""
    for name in (f"{build}.dockerignore", ".dockerignore"):
        if name in names:
            return name, parse_patterns(_text(folder / name))
    return None, ()


def _is_dockerfile(name: str) -> bool:
    lowered = name.lower()
    return (
        lowered in ("dockerfile", "containerfile")
        or lowered.startswith("dockerfile.")
        or lowered.endswith(".dockerfile")
    ) and not _ignores(name)


def _ignores(name: str) -> bool:
    return name.lower().endswith(".dockerignore")


def _is_environment(name: str) -> bool:
    return (name == ".env" or name.startswith(".env.")) and not name.endswith(_EXAMPLES)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_SIZE_MAX).decode(errors="replace")
