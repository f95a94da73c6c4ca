"""What the launcher counts, tried on programs whose cost is known."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import launch

MIB = 1 << 20
BURN = "import time; [None for _ in iter(lambda: time.process_time() < {seconds}, False)]"


def cost_of(folder: Path, script: str, limit_seconds: float = 60.0) -> launch.Cost:
    return launch.run(
        [sys.executable, "-c", script],
        environment=dict(os.environ),
        folder=folder,
        watched=[folder],
        limit_seconds=limit_seconds,
    )


def test_cpu_time_of_a_child_that_outlives_its_parent_counts(tmp_path: Path) -> None:
    burn = BURN.format(seconds=0.5)
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"

    cost = cost_of(tmp_path, script)

    assert cost.cpu_seconds >= 0.5
    assert cost.wall_seconds < cost.cpu_seconds + 0.5


def test_memory_of_all_processes_is_added_up(tmp_path: Path) -> None:
    hold = f"a = bytearray({64 * MIB}); input()"
    script = (
        "import subprocess, sys, time\n"
        f"hold = [subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=subprocess.PIPE)\n"
        "        for _ in range(2)]\n"
        "def resident(pid):\n"
        "    return int(open(f'/proc/{pid}/statm').read().split()[1]) * 4096\n"
        f"while any(resident(one.pid) < {64 * MIB} for one in hold): pass\n"
        "start = time.monotonic()\n"
        f"while time.monotonic() < start + {8 * launch.SAMPLE_SECONDS}: pass\n"
        "for one in hold: one.communicate(b'\\n')\n"
    )

    cost = cost_of(tmp_path, script)

    assert cost.memory_peak_size >= 128 * MIB
    assert cost.memory_peak_size < 200 * MIB


def test_a_temporary_file_without_a_name_counts_as_disk(tmp_path: Path) -> None:
    script = (
        "import os, time\n"
        "file = open('gone', 'wb'); os.unlink('gone')\n"
        f"file.write(bytes({8 * MIB})); file.flush(); os.fsync(file.fileno())\n"
        f"open('left', 'wb').write(bytes({MIB}))\n"
        "start = time.monotonic()\n"
        f"while time.monotonic() < start + {8 * launch.SAMPLE_SECONDS}: pass\n"
    )

    cost = cost_of(tmp_path, script)

    assert 9 * MIB <= cost.disk_peak_size < 10 * MIB
    assert MIB <= cost.disk_end_size < 2 * MIB


def test_a_command_that_takes_too_long_is_stopped_with_its_children(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "child.wait()\n"
    )

    cost = cost_of(tmp_path, script, limit_seconds=1.0)

    assert cost.is_stopped_by_limit
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()


def test_a_command_that_fails_is_an_error_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(launch.CommandFailed, match="the reason"):
        cost_of(tmp_path, "print('the reason'); raise SystemExit(3)")
