"""
The documentation as tests read it: fenced blocks, and the commands in them.

    ```console                              commands after "$ ", run in order; what is shown
                                            below one is compared with what it says
    ```console title="exit code 3"          the last command of the block ends with this code
    ```python                               run, all of a page in one process
    ```toml                                 a configuration, read
    ```sh title="not run here: ..."         says why; `test_docs.py` has the list

In output shown, ``...`` stands for anything in its line, and alone for any number of lines.
What differs from run to run (times, sizes, hashes) is compared by its form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
PAGES = (TOP / "README.md", TOP / "README.ja.md", *sorted((TOP / "docs").rglob("*.md")))
NOT_RUN = "not run here: "

_FENCE = re.compile(r"^( *)```(\w*)(.*)$")
_TITLE = re.compile(r'title="([^"]*)"')
_EXIT_CODE = re.compile(r"exit code (\d+)")

#: Forms of what no two runs share, and what stands for them on both sides.
_FORMS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
        (r"\d{8}[_-]\d{6}", "<stamp>"),
        (r"\b\d{4}/\d{2}/", "<year>/<month>/"),
        (r"\b[0-9a-f]{64}\b", "<sha256>"),
        (r"\b[0-9a-f]{32}\b", "<id>"),
        (r"\b[0-9a-f]{16}\b", "<checksum>"),
        (r"\b[\d.,]+ (bytes|B|KiB|MiB|GiB)(?=\W|$)", "<size>"),
        (r"\b\d+(\.\d+)? s\b|\b\d+ min \d+ s\b|\b\d+ h \d+ min\b|\b\d+ d \d+ h\b", "<duration>"),
        (r"\bprocess \d+", "process <id>"),
        (r"\b\d+%", "<share>"),
        (r"-{3,}", "---"),
        (r"[ \t]+", " "),
    )
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line_number` is that of its fence, from 1."""

    page: Path
    line_number: int
    language: str
    title: str
    lines: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(TOP)}:{self.line_number}"

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def exit_code(self) -> int:
        match = _EXIT_CODE.search(self.title)
        return int(match[1]) if match else 0


@dataclass(frozen=True, slots=True)
class Shown:
    """A command and the output shown below it."""

    command: str
    output: tuple[str, ...]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    lines = page.read_text().splitlines()
    index = 0
    while index < len(lines):
        fence = _FENCE.match(lines[index])
        index += 1
        if fence is None:
            continue
        start, indent = index, len(fence[1])
        while lines[index].strip() != "```":
            index += 1
        body = tuple(line[indent:] for line in lines[start:index])
        title = _TITLE.search(fence[3])
        yield Block(page, start, fence[2], title[1] if title else "", body)
        index += 1


def parts_of(page: Path) -> dict[str, list[Block]]:
    """Return the fenced blocks of a page below the headings that they stand under."""
    blocks = list(blocks_of(page))
    fenced = {
        number
        for block in blocks
        for number in range(block.line_number, block.line_number + len(block.lines) + 2)
    }
    heading = ""
    parts: dict[str, list[Block]] = {heading: []}
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if number in fenced:
            parts[heading] += [block for block in blocks if block.line_number == number]
        elif line.startswith("#"):
            heading = line.lstrip("# ")
            assert heading not in parts, f"{page}:{number}: {heading} stands there twice"
            parts[heading] = []
    return parts


def commands_of(block: Block) -> list[Shown]:
    """Return the commands of a console block; a line that ends in a backslash goes on."""
    found: list[tuple[str, list[str]]] = []
    goes_on = False
    for line in block.lines:
        if goes_on:
            command, output = found[-1]
            found[-1] = (f"{command}\n{line}", output)
            goes_on = line.endswith("\\")
        elif line.startswith("$ "):
            found.append((line[2:], []))
            goes_on = line.endswith("\\")
        else:
            assert found, f"{block.place} shows output before a command"
            found[-1][1].append(line)
    return [Shown(command, tuple(output)) for command, output in found]


def is_as_shown(shown: tuple[str, ...], actual: str) -> bool:
    """Say whether *actual* has the form that is shown."""
    wanted = [_form(line) for line in shown if line.strip()]
    found = [_form(line) for line in actual.splitlines() if line.strip()]
    pattern = "".join(
        r"(?:[^\n]*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", "[^\n]*") + r"\n"
        for line in wanted
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in found)) is not None


def _form(line: str) -> str:
    for pattern, replacement in _FORMS:
        line = pattern.sub(replacement, line)
    return line.strip()


def tables_of(page: Path) -> Iterator[list[list[str]]]:
    """Yield each table of a page as rows of cells, its head first."""
    table: list[list[str]] = []
    for line in [*page.read_text().splitlines(), ""]:
        if line.lstrip().startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            table.append(cells)
        elif table:
            yield [row for row in table if not re.fullmatch(r"[-: ]+", "".join(row))]
            table = []


def codes_in(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)
