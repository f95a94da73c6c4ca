"""
The keys of Litestream's configuration that ours has no counterpart for, and why.

Of 0.3 and 0.5; each with one line for whoever comes from there.
"""

from __future__ import annotations

_CHECKPOINTS = "not needed: the application checkpoints as it likes, Litekeep never takes over."
_METRICS = "not needed: litekeep status shows the same, with --json for programs."
_TUNING = "not needed: Litekeep chooses it by itself."
_LEVELS = "not needed: what is merged and when follows from retention."

#: At the top of the file.
GLOBAL_KEYS = {
    "addr": _METRICS,
    "mcp-addr": _METRICS,
    "socket": _METRICS,
    "exec": 'say it on the command line: litekeep stream --exec "...".',
    "logging": "not needed: lines go to standard output and error; --quiet and --verbose.",
    "levels": _LEVELS,
    "l0-retention": _LEVELS,
    "l0-retention-check-interval": _LEVELS,
    "verify-compaction": "always so: every file is held to its checksums when it is read.",
    "validation": "schedule litekeep verify and litekeep drill: litekeep install does.",
    "heartbeat-url": "see [notify.ping] in the configuration.",
    "heartbeat-interval": "see [notify.ping] in the configuration.",
    "shutdown-sync-timeout": "not needed: what is not shipped by then waits in the spool.",
    "shutdown-sync-interval": "not needed: what is not shipped by then waits in the spool.",
    "persist-replicas": _TUNING,
}

#: Of a database.
DATABASE_KEYS = {
    "dir": "list each database: litekeep init FOLDER finds them.",
    "pattern": "list each database: litekeep init FOLDER finds them.",
    "recursive": "list each database: litekeep init FOLDER finds them.",
    "watch": "list each database: litekeep init FOLDER finds them.",
    "meta-path": "not needed: local state lies in state_dir, for all databases.",
    "monitor-interval": "not needed: the stream looks as often as is of use.",
    "checkpoint-interval": _CHECKPOINTS,
    "busy-timeout": "see busy_timeout in the configuration.",
    "min-checkpoint-page-count": _CHECKPOINTS,
    "max-checkpoint-page-count": _CHECKPOINTS,
    "truncate-page-n": _CHECKPOINTS,
    "restore-if-db-not-exists": "run litekeep restore before the application starts.",
}

#: Of a replica, or for all replicas.
REPLICA_KEYS = {
    "snapshot-interval": "schedule litekeep backup: litekeep install does.",
    "validation-interval": "schedule litekeep verify and litekeep drill: litekeep install does.",
    "retention-check-interval": "schedule litekeep prune, or set after_backup in [retention].",
    "skip-verify": "never so: trust a private certificate with ca_file.",
    "skip-remote-deletes": "not needed: litekeep prune runs where you schedule it, or nowhere.",
    "age": "Litekeep does not seal what it stores yet: use the bucket's own encryption.",
    "sign-payload": _TUNING,
    "require-content-md5": "see checksum of the store.",
    "part-size": _TUNING,
    "concurrency": _TUNING,
    "auto-recover": "always so: the stream goes on with what differs.",
    "sse-customer-algorithm": "Litekeep does not send keys to S3: use encryption, or KMS.",
    "sse-customer-key": "Litekeep does not send keys to S3: use encryption, or KMS.",
    "sse-customer-key-path": "Litekeep does not send keys to S3: use encryption, or KMS.",
    "host": "of a kind of store that Litekeep does not have.",
    "user": "of a kind of store that Litekeep does not have.",
    "key-path": "of a kind of store that Litekeep does not have.",
    "host-key": "of a kind of store that Litekeep does not have.",
    "concurrent-writes": "of a kind of store that Litekeep does not have.",
    "webdav-url": "of a kind of store that Litekeep does not have.",
    "webdav-username": "of a kind of store that Litekeep does not have.",
    "username": "of a kind of store that Litekeep does not have.",
    "password": "of a kind of store that Litekeep does not have; it is not copied.",
    "webdav-password": "of a kind of store that Litekeep does not have; it is not copied.",
}

#: Secrets that ours has too, and the variable that a plain one is to be put into.
SECRETS = {
    "access-key-id": "AWS_ACCESS_KEY_ID",
    "secret-access-key": "AWS_SECRET_ACCESS_KEY",
    "session-token": "AWS_SESSION_TOKEN",
    "account-key": "AZURE_STORAGE_ACCOUNT_KEY",
}
