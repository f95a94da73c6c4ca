"""
Every error this package raises on purpose.

* LitekeepError                 exit  1
  + UserError                   exit  2   the caller can fix it: flags, configuration, paths
    - ConfigError               exit  2
    - MissingExtra              exit  2   an optional part of the package is not installed
    - TargetExists              exit  3
  + StateError                  exit 10   the repository or database is not as needed
    - NotFound                  exit 11
      * Vanished                exit 11   it was removed while it was to be read
    - LeaseHeld                 exit 12
    - GapFound                  exit 13
    - DatabaseUnusable          exit 14
      * DatabaseBusy            exit 14   a lock is held, or a process has the file open
      * NotADatabase            exit 14   encrypted, foreign or damaged in its header
      * UnsafeFileSystem        exit 14   locks or shared memory do not work there
  + CorruptionError             exit 20   bytes are wrong; never retried, never skipped
    - ChecksumMismatch          exit 21
    - FormatError               exit 22
    - IntegrityFailed           exit 23
  + StoreError                  exit 30   the store could not do what it was asked
    - StoreUnavailable          exit 31   transient: the only kind that is retried
      * StoreUnreachable        exit 31   no connection at all
    - AccessDenied              exit 32
    - NoSpace                   exit 33
    - NameTaken                 exit 34
    - BlobChanged               exit 35   a conditional replace met another version
    - BlobNotFound              exit 36
  + ProofError                  exit 40   what was restored is not what was promised
    - DrillFailed               exit 41
    - Stale                     exit 42
  + NotTold                     exit 50   somebody could not be notified
  + AlreadyRunning              exit 75

Anything else that escapes is a bug and shows a traceback (exit 70).
`tests/test_tidy.py` compares this drawing with the classes below.
"""

from __future__ import annotations

from typing import ClassVar

#: Exit codes of no error of ours; those of errors stand in their classes.
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
EXIT_TERMINATED = 143


class LitekeepError(Exception):
    """
    Base class: catch this to catch everything raised on purpose.

    Args:
        message: What happened, lower case, without a full stop.

        hint: What the reader can do next, a whole sentence; the usual one of the kind of
            error if not given.  A test holds that each error we raise has one or the other.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    usual_hint: ClassVar[str | None] = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.usual_hint if hint is None else hint
        #: What stands all the same, where part of the work was done.
        self.result: object | None = None


class UserError(LitekeepError):
    """The request cannot be carried out as it was made."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is missing, misspelt or out of range."""


class MissingExtra(UserError):
    """The request needs an optional part of the package that is not installed."""


class TargetExists(UserError):
    """A restore would overwrite a file that is already there."""

    exit_code = 3


class StateError(LitekeepError):
    """The repository or the database is not in the state this needs."""

    exit_code = 10


class NotFound(StateError):
    """The named database, restore point or repository is not there."""

    exit_code = 11


class Vanished(NotFound):
    """What a plan counted on was removed meanwhile, and nothing else makes that moment."""


class LeaseHeld(StateError):
    """Another writer holds the lease on this repository."""

    exit_code = 12


class GapFound(StateError):
    """A transaction range is missing from the chain of files."""

    exit_code = 13


class DatabaseUnusable(StateError):
    """The database file cannot be read, or not safely."""

    exit_code = 14


class DatabaseBusy(DatabaseUnusable):
    """Somebody else holds the lock, or has the file open."""


class NotADatabase(DatabaseUnusable):
    """The file is not an SQLite database that can be read here."""


class UnsafeFileSystem(DatabaseUnusable):
    """The file lies where SQLite's locks or shared memory do not work."""


class CorruptionError(LitekeepError):
    """Bytes are not what they claim to be."""

    exit_code = 20
    usual_hint = (
        "Take another restore point, or another store; litekeep verify names all that is damaged."
    )


class ChecksumMismatch(CorruptionError):
    """A checksum computed from the bytes differs from the recorded one."""

    exit_code = 21


class FormatError(CorruptionError):
    """Bytes do not follow the file format."""

    exit_code = 22


class IntegrityFailed(CorruptionError):
    """SQLite's own check found the database damaged."""

    exit_code = 23


class StoreError(LitekeepError):
    """The store could not do what it was asked."""

    exit_code = 30


class StoreUnavailable(StoreError):
    """The store did not answer, or asked to be tried later."""

    exit_code = 31
    retryable = True


class StoreUnreachable(StoreUnavailable):
    """No connection to the store could be made."""


class AccessDenied(StoreError):
    """The store refused: credentials, permissions, or the wrong place."""

    exit_code = 32


class NoSpace(StoreError):
    """There is no room left on the disk or in the store."""

    exit_code = 33


class NameTaken(StoreError):
    """Another blob is already stored under this name."""

    exit_code = 34
    usual_hint = "Look whose it is, and give one of the two another prefix, name or folder."


class BlobChanged(StoreError):
    """The blob is not the version that was to be replaced."""

    exit_code = 35
    usual_hint = "Find out who else writes there, then run it again."


class BlobNotFound(StoreError):
    """No blob is stored under this name."""

    exit_code = 36
    usual_hint = "Check the path or URL; litekeep list shows what is there."


class ProofError(LitekeepError):
    """What was restored is not what was promised."""

    exit_code = 40


class DrillFailed(ProofError):
    """A trial restore did not pass its checks."""

    exit_code = 41


class Stale(ProofError):
    """The newest backup or proof is older than configured."""

    exit_code = 42


class NotTold(LitekeepError):
    """A channel could not be told of something."""

    exit_code = 50


class AlreadyRunning(LitekeepError):
    """Another run of the same job is active."""

    exit_code = 75
