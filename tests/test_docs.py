"""
Lists that must agree: what the documentation lists, and what the code has.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec
import pytest

import litekeep
from litekeep import errors
from litekeep.aws.bucket import RIGHTS
from litekeep.cli.main import COMMANDS, group
from litekeep.config import environment
from litekeep.config.keys import keys_of
from litekeep.config.notify import AppriseSettings, NotifySettings, PingSettings, WebhookSettings
from litekeep.config.settings import (
    AssertSettings,
    DamageSettings,
    DatabaseSettings,
    DrillSettings,
    KeepSettings,
    RetentionSettings,
    Settings,
    SnapshotSettings,
    StatusSettings,
    StoreSettings,
)
from litekeep.config.stream import StreamSettings
from litekeep.doctor.bucket import UPLOADS_RIGHT
from litekeep.doctor.findings import CHECKS
from litekeep.documents import SELF_SHA256
from litekeep.notices import VARIABLES
from litekeep.repository.manifest import Manifest
from tests.documentation import TOP, codes_in, tables_of

DOCS = TOP / "docs"
COMMON = {"--config", "--json", "--quiet", "-q", "--verbose", "-v", "--help", "-h"}
ERRORS = {
    name: cls
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, errors.LitekeepError)
}


def command_of(name: str) -> click.Command:
    command = importlib.import_module(f"litekeep.cli.{name}").command
    assert isinstance(command, click.Command)
    return command


def options_of(command: click.Command) -> set[str]:
    options = {"--help", "-h"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            options |= {*parameter.opts, *parameter.secondary_opts}
    return options


def first_cells(page: Path, head: str) -> Iterator[str]:
    """Yield the first cells of the tables whose first column is called *head*."""
    for table in tables_of(page):
        if table[0][0] == head:
            yield from (row[0] for row in table[1:])


def listed_options(page: Path) -> set[str]:
    return {
        code.split()[0]
        for cell in first_cells(page, "option")
        for code in codes_in(cell)
        if code.startswith("-")
    }


def test_every_command_has_its_page_and_no_page_is_too_many():
    pages = {path.stem for path in (DOCS / "commands").glob("*.md")} - {"index"}

    assert pages == set(COMMANDS)


def test_the_index_of_commands_says_what_the_help_says():
    listed = {
        codes_in(row[0])[0]: row[1]
        for table in tables_of(DOCS / "commands/index.md")
        if table[0][0] == "command"
        for row in table[1:]
    }

    assert listed == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_lists_the_options_that_the_command_has(name: str):
    page = DOCS / f"commands/{name}.md"

    assert listed_options(page) == options_of(command_of(name)) - COMMON
    assert page.read_text().startswith(f"# litekeep {name}\n")


def test_every_check_of_the_doctor_is_listed_in_the_order_of_the_output():
    listed = [
        codes_in(row[0])[0]
        for table in tables_of(DOCS / "commands/doctor.md")
        for row in table[1:]
        if table[0] == ["check", "what it looks at"]
    ]

    assert listed == list(CHECKS)


def test_every_right_that_a_question_about_a_bucket_takes_is_listed():
    listed = {
        code
        for table in tables_of(DOCS / "commands/doctor.md")
        for row in table[1:]
        if table[0] == ["check", "right"]
        for code in codes_in(row[1])
    }

    assert listed == {*RIGHTS.values(), UPLOADS_RIGHT}


def test_the_common_options_are_listed():
    common = options_of(group) - {"--version", "-V"}

    assert listed_options(DOCS / "commands/index.md") == common == COMMON


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("## Top level", Settings),
        ("## `[snapshot]`", SnapshotSettings),
        ("## `[stream]`", StreamSettings),
        ("## `[retention]`", RetentionSettings),
        ("## `[damage]`", DamageSettings),
        ("## `[status]`", StatusSettings),
        ("## `[notify]`", NotifySettings),
        ("## `[notify.ping]`", PingSettings),
        ("## `[[notify.webhook]]`", WebhookSettings),
        ("## `[[notify.apprise]]`", AppriseSettings),
        ("## `[drill]`", DrillSettings),
        ("## `[[drill.assert]]`", AssertSettings),
        ("## `[[store]]`", StoreSettings),
        ("## `[[database]]`", DatabaseSettings),
    ],
)
def test_every_key_of_the_configuration_is_listed(heading: str, section: type[Any], tmp_path: Path):
    text = (DOCS / "configuration.md").read_text()
    part = tmp_path / "part.md"
    part.write_text(text.split(f"{heading}\n")[1].split("\n## ")[0])
    listed = {codes_in(cell)[0] for cell in first_cells(part, "key")}

    keys = {name for name, _ in keys_of(section)}
    if section is DatabaseSettings:
        keys -= {name for name, _ in keys_of(SnapshotSettings)}
    assert listed == keys


def test_the_kinds_of_stores_that_a_key_is_for_are_listed():
    (table,) = (t for t in tables_of(DOCS / "configuration.md") if "for" in t[0])
    listed = {codes_in(row[0])[0]: row[2] for row in table[1:]}

    assert listed == {name: ", ".join(key.stores) or "all" for name, key in keys_of(StoreSettings)}


def test_every_rule_of_retention_is_listed():
    listed = {
        code for cell in first_cells(DOCS / "configuration.md", "rule") for code in codes_in(cell)
    }

    assert listed == {name for name, _ in keys_of(KeepSettings)}


def test_values_that_a_key_is_limited_to_are_listed():
    listed = {
        codes_in(row[0])[0]: row[1]
        for table in tables_of(DOCS / "configuration.md")
        if table[0][0] == "key"
        for row in table[1:]
    }
    for section in (SnapshotSettings, StoreSettings):
        for name, key in keys_of(section):
            for value in key.allowed:
                assert f'`"{value}"`' in listed[name], (name, value)


def test_every_variable_of_the_environment_is_listed():
    listed = {codes_in(cell)[0] for cell in first_cells(DOCS / "configuration.md", "variable")}
    read = set(re.findall(r"^ {4}([A-Z][A-Z0-9_]+) ", environment.__doc__ or "", re.MULTILINE))

    assert listed == read | VARIABLES | {"LITEKEEP_CONFIG", "LITEKEEP_STATE"}


def test_every_exit_code_is_listed_with_its_errors():
    listed = {
        int(row[0]): set(codes_in(row[2]))
        for table in tables_of(DOCS / "exit-codes.md")
        for row in table[1:]
    }
    raised: dict[int, set[str]] = {}
    for name, cls in ERRORS.items():
        raised.setdefault(cls.exit_code, set()).add(name)

    others = {0, *(code for name, code in vars(errors).items() if name.startswith("EXIT_"))}
    assert listed == {**raised, **{code: set() for code in others}}


def test_every_exit_code_has_its_name_in_one_place():
    """Numbers that a module invents are in no list."""
    for path in Path(litekeep.__file__).parent.rglob("*.py"):
        if path.name != "errors.py":
            assert not re.search(r"^EXIT_\w+ *=", path.read_text(), re.MULTILINE), path


def test_every_error_is_listed_with_its_exit_code():
    listed = {
        codes_in(row[0])[0]: int(row[1])
        for table in tables_of(DOCS / "what-can-go-wrong.md")
        if table[0][0] == "error"
        for row in table[1:]
    }

    assert listed == {name: cls.exit_code for name, cls in ERRORS.items()}


def test_every_public_name_is_listed_and_there():
    listed = {codes_in(cell)[0] for cell in first_cells(DOCS / "library.md", "name")}

    assert listed == set(litekeep.__all__)
    assert all(getattr(litekeep, name) for name in litekeep.__all__)


def test_every_field_of_the_manifest_is_listed():
    listed = {codes_in(cell)[0] for cell in first_cells(DOCS / "formats.md", "field")}

    assert listed == {*fields_of(Manifest), SELF_SHA256}


def fields_of(struct: type[Any], before: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(struct):
        kind = field.type
        while get_origin(kind) is not None and get_origin(kind) is not dict:
            kind = get_args(kind)[0]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from fields_of(kind, f"{before}{field.name}.")
        else:
            yield f"{before}{field.name}"


def test_every_state_of_a_snapshot_is_explained():
    states = set(get_args(Manifest.__annotations__["state"])) or {"ok", "failed", "suspect"}
    listed = {codes_in(cell)[0] for cell in first_cells(DOCS / "commands/list.md", "state")}

    assert listed == states | {"foreign"}


def test_every_module_is_in_the_picture():
    picture = (DOCS / "architecture.md").read_text().split("```text\n")[1].split("```")[0]
    rooms = {
        path.name if path.is_file() else f"{path.name}/"
        for path in Path(litekeep.__file__).parent.iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }

    assert [room for room in sorted(rooms) if room not in picture] == []
    assert [
        room for room in re.findall(r"^  (\w+/)", picture, re.MULTILINE) if room not in rooms
    ] == []


def test_the_dependencies_are_those_of_the_lock():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    locked = set(
        re.findall(r"^([a-z0-9-]+)==", (TOP / "requirements/runtime.txt").read_text(), re.MULTILINE)
    )
    wanted = [*project["dependencies"], *project["optional-dependencies"]["aws"]]
    for extra in ("docker", "litestream", "notify"):
        wanted += project["optional-dependencies"][extra]

    names = {re.split(r"[><=;\[ ]", item)[0].replace(".", "-") for item in wanted}
    assert names <= locked


def test_no_address_of_an_index_is_in_the_lock():
    for path in (TOP / "requirements").iterdir():
        assert "://" not in path.read_text(), path
        assert "--hash=sha256:" in path.read_text(), path


def test_every_module_imported_is_declared():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = [*extras["aws"], *extras["docker"], *extras["litestream"], *extras["notify"]]
    declared = " ".join([*project["dependencies"], *optional]).replace("-", "_")
    found = {
        ((isinstance(node, ast.ImportFrom) and node.module) or alias.name).split(".")[0]
        for path in Path(litekeep.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module)
        for alias in node.names
    }
    foreign = found - set(sys.stdlib_module_names) - {"litekeep", "compression", "botocore"}

    assert [name for name in sorted(foreign) if name not in declared] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_the_site_is_built_and_every_link_in_it_leads_somewhere(site: Path):
    assert (site / "index.html").is_file()
    assert (site / "commands/restore.html").is_file()


def test_the_site_loads_nothing_from_outside(site: Path):
    loads = re.compile(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?(?:https?:)?//[^>]*>")
    links = re.compile(r"<link[^>]*\shref=\"?(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        text = page.read_text()
        found = [tag for tag in loads.findall(text) + links.findall(text) if "canonical" not in tag]
        assert found == [], page
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(), style


def test_people_read_folder_and_object():
    """One word, one meaning: no directory and no blob, but in the name of Azure's service."""
    wrong = re.compile(r"\b(?:director(?:y|ies)|blobs?)\b(?! Storage)", re.IGNORECASE)
    found = [
        f"{page}: {match[0]}"
        for page in [TOP / "README.md", TOP / "CHANGELOG.md", *DOCS.rglob("*.md")]
        for match in wrong.finditer(
            re.sub(r"```text.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
        )
    ]
    for path in Path(litekeep.__file__).parent.rglob("*.py"):
        for text in said_to_people(path.read_text()):
            found += [f"{path}: {text}" for match in wrong.finditer(text)]

    assert found == []


def said_to_people(source: str) -> Iterator[str]:
    """Yield the texts that errors, events and options are made with, without their values."""
    shown = {*ERRORS, "Note", "Warned", "StoreFailed", "option", "argument", "line", "say"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if (name or getattr(node.func, "id", "")) in shown:
                for given in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    for part in ast.walk(given):
                        if isinstance(part, ast.Constant) and isinstance(part.value, str):
                            yield part.value


def test_every_settings_class_is_looked_at():
    sections = {
        name
        for module in ("settings", "notify", "stream")
        for name, cls in vars(importlib.import_module(f"litekeep.config.{module}")).items()
        if dataclasses.is_dataclass(cls) and name.endswith("Settings")
    }

    assert sections == {
        *("Settings", "SnapshotSettings", "StoreSettings", "DatabaseSettings"),
        *("RetentionSettings", "KeepSettings", "DrillSettings", "AssertSettings"),
        *("DamageSettings", "StatusSettings", "StreamSettings"),
        *("NotifySettings", "PingSettings", "WebhookSettings", "AppriseSettings"),
    }
