"""
A fuzzer that sees which lines its bytes reach finds nothing but errors with names.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from litekeep.ltx.frames import Form
from tests.unit.ltx.test_golden import FILES
from tests.writers.ltx import header, written

TOP = Path(__file__).parents[2]
SECONDS = 120


@pytest.mark.torture
@pytest.mark.timeout(SECONDS + 120)
def test_atheris_finds_only_errors_with_names(tmp_path: Path):
    pytest.importorskip("atheris", reason="it has no wheel for this Python or machine")
    corpus, crashes = tmp_path / "corpus", tmp_path / "crashes"
    corpus.mkdir()
    crashes.mkdir()
    for index, path in enumerate(FILES):
        (corpus / f"golden-{index}").write_bytes(path.read_bytes())
    for form in Form:
        (corpus / form.value).write_bytes(written(header(), {2: b"ab" * 256}, form=form)[0])
    (corpus / "empty").write_bytes(written(header(commit=0), {})[0])

    ran = subprocess.run(
        [
            *(sys.executable, "-m", "tests.property.fuzz_ltx", corpus),
            *(f"-max_total_time={SECONDS}", "-max_len=5000", "-rss_limit_mb=1024", "-seed=4"),
            *("-print_final_stats=1", f"-artifact_prefix={crashes}/"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=TOP,
    )

    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "stat::number_of_executed_units" in ran.stderr
    assert list(crashes.iterdir()) == []
