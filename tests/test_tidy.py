"""
The house style, held by the machine.

Two parts.  `ROOMS`, `LATE` and `ONLY_IN` are the picture in `docs/architecture.md`, as data: who
may see whom, and which module alone may touch what.  The rest are limits and forms.  Each check
is a function of source text, so that the tests at the end can show that it fails.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from litekeep import errors

PACKAGE = Path(errors.__file__).parent
TOP = PACKAGE.parents[1]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

#: Seen by all; they see nothing but each other.
FOUNDATION = {
    *("errors", "units", "clock", "documents", "faults", "paths", "secret", "version", "when"),
    *("workers", "dockername"),
}

#: A room may import itself, the foundation, and the rooms that it names here.
ROOMS: dict[str, set[str]] = {
    # Siblings: none sees another or anything above; each could be a library of its own.
    "sqlite": set(),
    "ltx": set(),
    "codec": set(),
    "host": set(),
    "aws": set(),
    "notify": set(),
    "store": {"aws"},
    # How things lie in a store.
    "repository": {"store", "ltx", "codec"},
    # What the product does.
    # The road of single commits, beside that of snapshots.
    "stream": {"store", "ltx", "sqlite"},
    "engine": {"repository", "store", "codec", "ltx", "sqlite", "host", "stream"},
    # What the user wants, and the way from there to an engine's job.
    "config": set(),
    "opening": {"config", "repository", "store"},
    "lookup": {"opening", "config", "repository", "codec"},
    "sources": {"lookup", "opening", "config", "engine", "repository", "codec", "sqlite"},
    "status": {"sources", "engine", "repository"},
    "jobs": {
        *("sources", "opening", "config", "engine", "repository", "codec", "sqlite", "host"),
        "stream",
    },
    "schedules": {"config", "host", "notices"},
    "notices": {"config", "notify"},
    "library": {"config", "sources", "jobs", "engine", "host"},
    "doctor": {
        *("status", "sources", "opening", "config", "engine", "repository", "store"),
        *("host", "sqlite", "aws", "notices", "notify"),
    },
    # Thin over them all.
    "cli": {
        *("library", "schedules", "doctor", "status", "sources", "jobs", "opening"),
        *("config", "engine", "host", "notices", "notify", "stream"),
    },
    "__init__": {"library", "engine"},
    "__main__": {"cli"},
    **{room: FOUNDATION - {room} for room in FOUNDATION},
}

#: Allowed inside a function only: what is imported is optional, or slow.
LATE: dict[str, set[str]] = {
    "config": {"aws"},
    "cli": {"sqlite"},
    "__init__": {"library", "engine"},
}

#: The rule of one: nobody else imports this.
ONLY_IN: dict[str, set[str]] = {
    "apsw": {
        "sqlite/connections.py",
        "sqlite/changes.py",
        "sqlite/helping.py",
        "sqlite/live.py",
        "sqlite/logstate.py",
        "sqlite/tail.py",
        "sqlite/check.py",
        "sqlite/examine.py",
        "sqlite/settle.py",
        "sqlite/dump.py",
        "sqlite/translate.py",
    },
    "obstore": {"store/bucket.py"},
    "boto3": {"aws"},
    "botocore": {"aws"},
    "time": {"clock.py"},
    "subprocess": {"workers.py"},
    "multiprocessing": set(),
    "asyncio": set(),
    # Another SQLite than ours, as an application has it: the demonstration's, in processes
    # where apsw is never loaded.
    "sqlite3": {"cli/demo.py", "cli/demo_application.py"},
    "docker": {"host/docker.py"},
    "apprise": {"notify/channels.py"},
    "isal": {"codec/gzip.py"},
    "lz4": {"ltx/frames.py", "stream/inflate.py"},
    "yaml": {"cli/import.py"},
    "rich": {"cli/progress.py"},
    "click": {"cli"},
    "msgspec": {"repository/manifest.py", "repository/marks.py"},
}
#: What starts a thread or a process; locks and futures do not.
STARTERS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "Popen", "fork"}
CLOCK_READERS = {"now", "utcnow", "today"}
#: Imported in functions only: an extra, or too slow to be loaded for nothing.
ALWAYS_LATE = {"boto3", "botocore", "docker", "apprise", "yaml"}
#: State, where the rest are values.
STATEFUL = {"Fetched"}
BAD_NAMES = re.compile(r"(^|_)(utils?|helpers?|common|misc|manager)(_|$)")
MODULES = sorted(PACKAGE.rglob("*.py"))
BENCH = sorted((TOP / "bench").rglob("*.py"))


def place_of(path: Path) -> str:
    return str(path.relative_to(TOP))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def type_only(tree: ast.Module) -> set[ast.AST]:
    """The nodes that only a type checker reads."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }


def imports_of(source: str) -> Iterator[tuple[str, str, bool]]:
    """Yield module, name in it (or nothing) and whether it is imported late."""
    tree = ast.parse(source)
    early = set(tree.body)
    skipped = type_only(tree)
    for node in ast.walk(tree):
        is_late = node not in early
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", is_late
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield "." * node.level + (node.module or ""), alias.name, is_late


def wall_violations(source: str, room: str) -> list[str]:
    """Who is seen that must not be, in this room's module."""
    found = []
    for module, name, is_late in imports_of(source):
        if module.startswith("."):
            found.append(f"{room} has a relative import")
        parts = module.split(".")
        if parts[0] != "litekeep":
            continue
        seen = parts[1] if len(parts) > 1 else name
        if seen in {room, "", "__version__", "LitekeepError"}:
            continue
        allowed = FOUNDATION | ROOMS[room] if room not in FOUNDATION else ROOMS[room]
        if seen not in allowed | (LATE.get(room, set()) if is_late else set()):
            found.append(f"{room} imports {seen}")
    return sorted(set(found))


def rule_of_one_violations(source: str, place: str) -> list[str]:
    """What is done here although it is another module's alone."""
    found = []
    for module, _, is_late in imports_of(source):
        library = module.split(".")[0]
        homes = ONLY_IN.get(library)
        if homes is not None and not any(
            PurePosixPath(place).is_relative_to(home) for home in homes
        ):
            found.append(f"{place} imports {library}")
        if library in ALWAYS_LATE and not is_late:
            found.append(f"{place} imports {library} at once")
    names = set(names_of(source))
    if place != "workers.py":
        found += [f"{place} starts a {name}" for name in names & STARTERS]
    if place != "clock.py" and any(reads_a_clock(node) for node in ast.walk(ast.parse(source))):
        found.append(f"{place} reads a clock")
    return sorted(set(found))


def names_of(source: str) -> Iterator[str]:
    """Yield every name and attribute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def reads_a_clock(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK_READERS
        and ast.unparse(node.func.value) in {"datetime", "date", "datetime.datetime"}
    )


def size_violations(source: str) -> list[str]:
    """What is longer or wider than it may be."""
    lines = source.splitlines()
    found = [f"line {n} is {len(x)} wide" for n, x in enumerate(lines, 1) if len(x) > COLUMNS_MAX]
    if len(lines) > MODULE_LINES_MAX:
        found.append(f"the module has {len(lines)} lines")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or 0) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                found.append(f"{node.name} has {count} lines")
    return found


def silent_parts(source: str) -> list[str]:
    """What says nothing about itself: the module, its public classes and functions."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                found.append(node.name)
    return found


def loose_dataclasses(source: str) -> list[str]:
    """Dataclasses that are not frozen or have no slots."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            for decorator in map(ast.unparse, node.decorator_list):
                is_tight = "slots=True" in decorator and (
                    "frozen=True" in decorator or node.name in STATEFUL
                )
                if decorator.split("(")[0] in {"dataclass", "dataclasses.dataclass"}:
                    found += [] if is_tight else [node.name]
    return found


def drawn_tree(text: str) -> dict[str, tuple[str | None, int]]:
    """Read ``name -> (parent, exit code)`` from an indented drawing."""
    parents: list[tuple[int, str]] = []
    drawn: dict[str, tuple[str | None, int]] = {}
    for match in re.finditer(r"^( *)[*+-] (\w+) +exit +(\d+)", text, re.MULTILINE):
        depth, name, code = len(match[1]), match[2], int(match[3])
        parents = [parent for parent in parents if parent[0] < depth]
        drawn[name] = (parents[-1][1] if parents else None, code)
        parents.append((depth, name))
    return drawn


def errors_without_hint(source: str) -> list[str]:
    """Errors of ours that are made without saying what to do, and have no usual hint."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            cls = getattr(errors, node.func.id, None)
            is_ours = isinstance(cls, type) and issubclass(cls, errors.LitekeepError)
            has_hint = any(keyword.arg == "hint" for keyword in node.keywords)
            if is_ours and not has_hint and not getattr(cls, "usual_hint", None):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=place_of)
def test_every_error_says_what_to_do(path: Path):
    assert errors_without_hint(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=place_of)
def test_imports_keep_the_walls(path: Path):
    assert wall_violations(path.read_text(), room_of(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=place_of)
def test_the_rule_of_one_is_kept(path: Path):
    place = path.relative_to(PACKAGE).as_posix()

    assert rule_of_one_violations(path.read_text(), place) == []


@pytest.mark.parametrize("path", MODULES + BENCH, ids=place_of)
def test_modules_functions_and_lines_fit_their_limits(path: Path):
    assert size_violations(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES + BENCH, ids=place_of)
def test_what_is_public_says_what_it_is(path: Path):
    assert silent_parts(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES + BENCH, ids=place_of)
def test_values_are_frozen_and_have_slots(path: Path):
    assert loose_dataclasses(path.read_text()) == []


def test_no_room_is_a_drawer():
    names = {part.removesuffix(".py") for path in MODULES for part in path.parts}

    assert sorted(name for name in names if BAD_NAMES.search(name)) == []


def test_every_room_has_its_place_in_the_table():
    assert set(ROOMS) >= {room_of(path) for path in MODULES}


def test_the_table_lists_no_module_that_is_gone():
    homes = {home for listed in ONLY_IN.values() for home in listed}
    rooms = {room_of(path) for path in MODULES}

    assert sorted(home for home in homes if not (PACKAGE / home).exists()) == []
    assert rooms >= set(ROOMS)


def test_the_error_drawing_is_the_classes():
    actual = {
        cls.__name__: (
            None if cls is errors.LitekeepError else str(cls.__base__ and cls.__base__.__name__),
            cls.exit_code,
        )
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.LitekeepError)
    }

    assert actual == drawn_tree(errors.__doc__ or "")


def test_only_one_error_is_worth_another_try():
    """The class of what is retried is one, whatever stands below it."""
    retryable = [cls for cls in vars(errors).values() if getattr(cls, "retryable", False)]

    assert errors.StoreUnavailable in retryable
    assert [cls for cls in retryable if not issubclass(cls, errors.StoreUnavailable)] == []


@pytest.mark.parametrize(
    "line",
    [
        "from litekeep.engine import backup",
        "from litekeep.engine.backup import backup",
        "import litekeep.engine.backup",
        "from litekeep import engine",
        "def f():\n    from litekeep.engine import backup",
    ],
)
def test_a_store_that_sees_the_engine_is_caught(line: str):
    assert wall_violations(line, "store") == ["store imports engine"]


def test_a_wall_that_may_be_passed_late_only_is_held():
    assert wall_violations("from litekeep.aws import x", "config") == ["config imports aws"]
    assert not wall_violations("def f():\n    from litekeep.aws import x", "config")


def test_a_foundation_that_sees_a_room_is_caught():
    assert wall_violations("import litekeep.store.base", "errors") == ["errors imports store"]


def test_a_relative_import_is_caught():
    assert wall_violations("from ..engine import x", "store") == ["store has a relative import"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("import apsw", "imports apsw"),
        ("def f():\n    import boto3", "imports boto3"),
        ("import time", "imports time"),
        ("from subprocess import run", "imports subprocess"),
        ("import threading\nthreading.Thread()", "starts a Thread"),
        ("from concurrent.futures import ThreadPoolExecutor as T", "starts a ThreadPoolExecutor"),
        ("import os\nos.fork()", "starts a fork"),
        ("from datetime import datetime\nx = datetime.now()", "reads a clock"),
    ],
)
def test_a_second_one_is_caught(line: str, named: str):
    assert rule_of_one_violations(line, "engine/backup.py") == [f"engine/backup.py {named}"]


def test_what_must_come_late_is_held_to_it():
    found = rule_of_one_violations("import boto3", "aws/uploads.py")

    assert found == ["aws/uploads.py imports boto3 at once"]
    assert not rule_of_one_violations("def f():\n    import boto3", "aws/uploads.py")


def test_a_lock_starts_no_thread():
    assert not rule_of_one_violations("from threading import Lock", "store/memory.py")


def test_what_is_too_long_or_too_wide_is_caught():
    long_function = "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX

    assert size_violations(long_function) == ["f has 71 lines"]
    assert size_violations("#\n" * 401) == ["the module has 401 lines"]
    assert size_violations("#" * 101) == ["line 1 is 101 wide"]


def test_an_error_without_a_hint_is_caught():
    assert errors_without_hint("raise UserError('no')") == ["line 1: UserError('no')"]
    assert not errors_without_hint("raise UserError('no', hint='Do so.')")
    assert not errors_without_hint("raise FormatError('no')")


def test_silence_is_caught():
    assert silent_parts("def f(): ...\nclass C: ...") == ["the module", "f", "C"]


def test_a_loose_dataclass_is_caught():
    assert loose_dataclasses("@dataclass(frozen=True)\nclass A: ...") == ["A"]
    assert loose_dataclasses("@dataclass\nclass A: ...") == ["A"]


def test_a_drawing_that_differs_is_caught():
    drawn = drawn_tree("* A   exit 1\n  + B  exit 2\n    - C  exit 3\n  + D  exit 4\n")

    assert drawn == {"A": (None, 1), "B": ("A", 2), "C": ("B", 3), "D": ("A", 4)}


def test_the_files_that_come_first_are_there():
    from tests.conftest import LONGEST

    assert [name for name in LONGEST if not (TOP / "tests" / name).is_file()] == []
