"""
This module is the list of contenders: who is compared, and with which commands.

Each is run as its users run it, with the settings that it has out of the box.  Where a
tool must first be told about a new repository, that is done before the clock starts.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.launch import TOP
from bench.server import Server, environment_for, is_installed, program

GUIDE = str(Path(__file__).with_name("guide.sh"))
GUIDE_PROGRAMS = ("sqlite3", "gzip", "aws")
#: The installed command in this environment, whether or not its script is on the path.
LITEKEEP = (sys.executable, "-m", "litekeep")
#: Guards nothing: see `server.SECRET_KEY`.
RESTIC_PASSWORD = "benchmarks-only"


@dataclass(frozen=True, slots=True)
class Job:
    """
    What a contender works on: everything it leaves behind goes into `folder`.

    `objects` are the snapshots that a restore begins from: a folder, filled before.
    """

    database: Path
    server: Server
    bucket: str
    folder: Path
    endpoint: str
    objects: Path | None = None

    @property
    def s3(self) -> str:
        """The URL for Litekeep; the endpoint comes from the environment."""
        return f"s3://{self.bucket}/sqlite-backup"

    @property
    def environment(self) -> Mapping[str, str]:
        """A small environment: nothing of the caller's settings gets through but PATH."""
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{TOP / 'src'}:{TOP}",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "LITEKEEP_STATE": str(self.folder / "state"),
            "RESTIC_REPOSITORY": f"s3:{self.endpoint}/{self.bucket}",
            "RESTIC_PASSWORD": RESTIC_PASSWORD,
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
            "RCLONE_CONFIG_BENCH_TYPE": "s3",
            "RCLONE_CONFIG_BENCH_PROVIDER": "SeaweedFS",
            "RCLONE_CONFIG_BENCH_ENV_AUTH": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": self.endpoint,
            **environment_for(self.endpoint),
        }


def _nothing(job: Job) -> None:
    """Need no preparation."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the job."""

    name: str
    title: str
    command: Callable[[Job], Sequence[str]]
    prepare: Callable[[Job], None] = _nothing
    programs: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The programs that it needs and this machine lacks."""
        return tuple(name for name in self.programs if not is_installed(name))


def _guide(job: Job, copy: str) -> Sequence[str]:
    return ["sh", GUIDE, str(job.database), job.bucket, str(job.folder), copy]


def _floor(job: Job, *objects: str) -> Sequence[str]:
    return [sys.executable, "-m", "bench.floor", str(job.database), job.bucket, *objects]


def _shell(job: Job, script: str, *arguments: str) -> Sequence[str]:
    return ["sh", "-euc", script, "sh", *arguments]


def _litekeep(*arguments: str) -> Sequence[str]:
    return [*LITEKEEP, *arguments]


def _restic_init(job: Job) -> None:
    subprocess.run(
        ["restic", "init", "--quiet"],
        env=dict(job.environment),
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _copied(job: Job, then: str) -> Sequence[str]:
    copy = str(job.folder / "copy.db")
    script = f'sqlite3 "$1" "VACUUM INTO \'$2\'"; {then}; rm "$2"'
    return _shell(job, script, str(job.database), copy, job.bucket)


def _object(job: Job) -> str:
    assert job.objects is not None
    (found,) = [
        path for path in job.objects.rglob("*.db.gz") if not path.name.startswith("latest.")
    ]
    return str(found)


def _guide_restore(job: Job) -> Sequence[str]:
    script = 'aws s3 cp --only-show-errors "$1" "$2.gz"; gunzip "$2.gz"'
    source = f"s3://{job.bucket}/sqlite-backup/latest.db.gz"
    return _shell(job, script, source, str(job.folder / "restored.db"))


def _backup_for_restore(job: Job) -> None:
    """Put the snapshot into the job's bucket, for a restore from there."""
    subprocess.run(
        _litekeep("backup", str(job.database), "--to", job.s3, "--no-check", "--quiet"),
        env=dict(job.environment),
        check=True,
    )


BACKUPS = (
    Contender(
        "litekeep",
        "Litekeep: a folder and S3, with the check",
        lambda job: _litekeep(
            *("backup", str(job.database), "--to", str(job.folder / "local"), "--to", job.s3)
        ),
    ),
    Contender(
        "litekeep-s3",
        "Litekeep: S3 alone, with the check",
        lambda job: _litekeep("backup", str(job.database), "--to", job.s3),
    ),
    Contender(
        "litekeep-s3-no-check",
        "Litekeep: S3 alone, `--no-check`",
        lambda job: _litekeep("backup", str(job.database), "--to", job.s3, "--no-check"),
    ),
    Contender(
        "floor",
        "the floor: read, compress, send",
        lambda job: _floor(job, "sqlite-backup/floor.db.gz"),
    ),
    Contender(
        "floor-latest",
        "the floor, then `latest` copied by the server",
        lambda job: _floor(job, "sqlite-backup/floor.db.gz", "sqlite-backup/latest.db.gz"),
    ),
    Contender(
        "guide",
        "the guide's pipeline",
        lambda job: _guide(job, "backup"),
        programs=GUIDE_PROGRAMS,
    ),
    Contender(
        "quick-check",
        "the guide's `quick_check` by itself",
        lambda job: ["sqlite3", str(job.database), "PRAGMA quick_check;"],
        programs=("sqlite3",),
    ),
    Contender(
        "restic",
        "restic backup of a `VACUUM INTO` copy",
        lambda job: _copied(job, 'restic backup --quiet "$2"'),
        _restic_init,
        programs=("sqlite3", "restic"),
    ),
    Contender(
        "rclone",
        "rclone copy of a `VACUUM INTO` copy",
        lambda job: _copied(job, f'"{program("rclone")}" copyto "$2" "bench:$3/app.db"'),
        programs=("sqlite3", "rclone"),
    ),
)

RESTORES = (
    Contender(
        "litekeep",
        "Litekeep, from a folder, all proofs",
        lambda job: _litekeep(
            *("restore", str(job.objects), "--output", str(job.folder / "restored.db"))
        ),
    ),
    Contender(
        "gunzip",
        "`gunzip` of the same object",
        lambda job: _shell(
            job, 'gunzip -c "$1" > "$2"', _object(job), str(job.folder / "restored.db")
        ),
    ),
    Contender(
        "bare",
        "the same library: decompress and write",
        lambda job: [
            *(sys.executable, "-m", "bench.bare"),
            *(_object(job), str(job.folder / "restored.db")),
        ],
    ),
    Contender(
        "litekeep-s3",
        "Litekeep, from S3, all proofs",
        lambda job: _litekeep(*("restore", job.s3, "--output", str(job.folder / "restored.db"))),
        _backup_for_restore,
    ),
    Contender(
        "guide-s3",
        "the guide: `aws s3 cp`, then `gunzip`",
        _guide_restore,
        _backup_for_restore,
        programs=("aws", "gunzip"),
    ),
)


def alone(seconds: float) -> Contender:
    """Return the contender that lets an application run undisturbed."""
    return Contender("alone", "nothing: the application alone", lambda job: ["sleep", str(seconds)])


GUIDE_VACUUM = Contender(
    "guide-vacuum",
    "the guide's pipeline with `VACUUM INTO` in place of `.backup`",
    lambda job: _guide(job, "vacuum"),
    programs=GUIDE_PROGRAMS,
)
