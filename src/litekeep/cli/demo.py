"""
`litekeep demo`: a sample application, a backup under its feet, damage, a restore, proof.

All in a temporary folder: the real commands run as they would be typed, and the
interpreter's own SQLite looks at the results, not ours.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from litekeep import workers
from litekeep.cli import output
from litekeep.cli.demo_application import Books, integrity, read_books
from litekeep.cli.options import Options, common_options
from litekeep.clock import monotonic
from litekeep.errors import LitekeepError, ProofError
from litekeep.units import show_duration, show_size

DAMAGED_SHARE = 0.3

#: What could make the demo's commands look at anything but its own folder.
_FOREIGN = ("LITEKEEP_CONFIG", "S3_BUCKET", "LOCAL_BACKUP_DIR", "DB_FILE_NAME", "HOME")


@click.command(short_help="Show a backup, damage and a restore of a sample database.")
@click.option("--keep", is_flag=True, help="Leave the folder there to look at.")
@common_options
def command(keep: bool, options: Options) -> None:
    """
    Show a backup, damage and a restore of a sample database.

    A sample application writes all the while. Nothing outside a temporary folder is
    touched, and no network is used.
    """
    started = monotonic()
    folder = Path(tempfile.mkdtemp(prefix="litekeep-demo-"))
    try:
        proof = _Demo(folder, options).run()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = monotonic() - started
    if options.is_json:
        output.json_object({**proof, "seconds": round(seconds, 3)})
    elif not options.is_quiet:
        output.line()
        output.line(f"Done in {show_duration(seconds)}." + (f" See {folder}." if keep else ""))


class _Demo:
    """The demo in its folder."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._database = folder / "shop.db"
        self._is_silent = options.is_json or options.is_quiet
        self._environ = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
        self._environ["LITEKEEP_STATE"] = str(folder / "state")
        # The first place that is looked for a configuration: so no other is in force.
        (folder / "litekeep.toml").write_text("# The demo needs no setting.\n")

    def run(self) -> dict[str, object]:
        with self._application():
            self._tell("1. A shop takes orders, hundreds a second, in SQLite's WAL mode.")
            before = read_books(self._database)
            self._tell(f"   {_show(before)}, {show_size(self._database.stat().st_size)}")
            self._tell()
            self._tell("2. It is backed up while it goes on.")
            self._command("backup", "shop.db")
            after = read_books(self._database)
            self._tell(f"   meanwhile the shop took {after.orders - before.orders} more orders")
        self._command("list", "shop.db")
        self._tell("3. The machine fails: the application is killed, a third of the file is gone.")
        self._damage()
        self._tell(f"   SQLite says: {integrity(self._database)}")
        self._tell()
        self._tell("4. Back to the snapshot. The damaged file stays as the undo copy.")
        self._command("restore", "shop.db", "--replace")
        self._tell("5. The proof.")
        restored = read_books(self._database)
        facts = self._prove(before, restored, after)
        self._tell()
        self._tell("6. And all that is stored is read again, as cron could do every night.")
        self._command("verify", "shop.db")
        return facts

    def _prove(self, before: Books, restored: Books, after: Books) -> dict[str, object]:
        backups = self._folder / "shop.db-backups"
        (manifest_path,) = backups.glob("*/*/*.json")
        manifest = json.loads(manifest_path.read_bytes())
        sha256 = hashlib.sha256(self._database.read_bytes()).hexdigest()
        with gzip.open(backups / "latest.db.gz") as file:
            by_hand = hashlib.sha256(file.read()).hexdigest()
        claims = {
            "the file is, byte for byte, what the manifest promised": (
                sha256 == manifest["database"]["sha256"]
            ),
            "any gunzip gives the same bytes from latest.db.gz": by_hand == sha256,
            "SQLite's integrity_check says ok": integrity(self._database) == "ok",
            "orders, customers and totals agree: one whole commit": restored.is_whole,
            f"{restored.orders} orders lie between the {before.orders} before the backup "
            f"and the {after.orders} after it": before.orders <= restored.orders <= after.orders,
        }
        for claim, holds in claims.items():
            self._tell(f"   {'yes' if holds else 'NO '}  {claim}")
        if not all(claims.values()):
            raise ProofError(
                "the demo's restore is not what was promised", hint="Please report this."
            )
        return {
            "orders": {
                "before": before.orders,
                "restored": restored.orders,
                "after": after.orders,
            },
            "sha256": sha256,
            "proved": True,
        }

    @contextlib.contextmanager
    def _application(self) -> Iterator[None]:
        """Run the shop; it is killed at the end, as by a power cut."""
        process = workers.start_python(
            ["-m", "litekeep.cli.demo_application", "shop.db"],
            folder=self._folder,
            environ=self._environ,
            is_piped=True,
        )
        with process:
            try:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    raise LitekeepError(
                        "the demo's application did not start", hint="Its error stands above."
                    )
                yield
            finally:
                process.kill()

    def _command(self, *arguments: str) -> None:
        self._tell(f"   $ {shlex.join(['litekeep', *arguments])}")
        quiet = ["--quiet"] if self._is_silent else []
        process = workers.start_python(
            ["-m", "litekeep", *arguments, *quiet],
            folder=self._folder,
            environ=self._environ,
            is_piped=self._is_silent,
        )
        code = process.wait()
        if code != 0:
            raise LitekeepError(
                f"litekeep {arguments[0]} ended with exit code {code}",
                hint="Its error stands above; --keep leaves the folder to look at.",
            )
        self._tell()

    def _damage(self) -> None:
        """Overwrite a part of the file, in the middle; the log is lost as well."""
        size = self._database.stat().st_size
        with self._database.open("r+b") as file:
            file.seek(size // 3)
            file.write(os.urandom(int(size * DAMAGED_SHARE)))
        for suffix in ("-wal", "-shm"):
            self._database.with_name(f"shop.db{suffix}").unlink(missing_ok=True)

    def _tell(self, text: str = "") -> None:
        if not self._is_silent:
            output.line(text)


def _show(books: Books) -> str:
    return f"{books.orders} orders, {books.cents / 100:,.2f} in all"
