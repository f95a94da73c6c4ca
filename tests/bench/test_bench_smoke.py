"""The benchmarks run: every script, every contender that is installed, in small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.contenders import BACKUPS, RESTORES, Contender

TOP = Path(__file__).resolve().parents[2]


def processes_that_name(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


def listed(contenders: tuple[Contender, ...]) -> list[str]:
    return [one.title for one in contenders if not one.missing]


def test_a_quick_run_measures_everything_and_touches_no_documentation(tmp_path: Path) -> None:
    page = TOP / "docs" / "benchmarks.md"
    before = page.read_bytes() if page.exists() else None
    cache = tmp_path / "cache"

    ended = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--quick"),
            *("--cache", str(cache), "--pages", str(tmp_path / "docs")),
        ],
        cwd=TOP,
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert before == (page.read_bytes() if page.exists() else None)
    text = (tmp_path / "docs" / "benchmarks.md").read_text()
    missing = [title for title in listed(BACKUPS) + listed(RESTORES) if title not in text]
    assert missing == []
    assert sorted(path.name for path in cache.iterdir()) == ["databases", "results.json"]
    assert processes_that_name(str(cache)) == []
