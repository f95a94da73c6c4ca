"""
The configuration file: found, and read as TOML; `reader.py` makes settings of it.

    first found    --config FILE, $LITEKEEP_CONFIG, ./litekeep.toml,
                   ~/.config/litekeep/litekeep.toml, /etc/litekeep.toml; /dev/null: none
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from litekeep.config.reader import Reader
from litekeep.config.settings import Settings
from litekeep.errors import ConfigError
from litekeep.paths import is_file

SIZE_MAX = 1 << 20


def find_file(given: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """
    Return the configuration file in force, or None.

    Args:
        given: Of `--config`.

        environ: The environment.

        folder: The current one.

    Raises:
        ConfigError: The file named by `--config` or `$LITEKEEP_CONFIG` is not there.
    """
    named = ((given, "--config"), (environ.get("LITEKEEP_CONFIG"), "$LITEKEEP_CONFIG"))
    for path, source in named:
        if path:
            # A shell leaves the ~ of --config=~/x alone, and a unit file that of a variable.
            full = folder / os.path.expanduser(path)
            if str(full) == os.devnull:
                return None
            if not is_file(full):
                raise ConfigError(
                    f"there is no configuration file {path}, which {source} names",
                    hint="Correct the path, or write one with litekeep init.",
                )
            return full
    homes = [environ["HOME"]] if environ.get("HOME") else []
    places = [folder, *(Path(home, ".config/litekeep") for home in homes), Path("/etc")]
    # Unlike Path.is_file, this takes a folder that may not be entered for an empty one.
    files = (place / "litekeep.toml" for place in places)
    return next((path for path in files if os.path.isfile(path)), None)


def read_file(path: Path, environ: Mapping[str, str]) -> Settings:
    """
    Return what the file says.

    Args:
        path: The file.

        environ: Where ``~`` finds the home folder.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            hint=f"Give user id {os.geteuid()} the right to read it.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from error
    if len(data) > SIZE_MAX:
        raise ConfigError(
            f"{path} is larger than {SIZE_MAX} bytes",
            hint="Check that it is a configuration: no real one is that long.",
        )
    return read_text(text, path, environ)


def read_text(text: str, path: Path, environ: Mapping[str, str]) -> Settings:
    """
    Return what *text*, the contents of the file at *path*, says.

    Raises:
        ConfigError: Something in it is wrong.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not TOML: {error}", hint="See https://toml.io for the format."
        ) from error
    return Reader(path, text, environ).settings(tables)
