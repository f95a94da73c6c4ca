"""
What the guide says, to the letter: its policy, its bucket, its units, its lines.
"""

from __future__ import annotations

import json
from typing import Any

BUCKET = "chuden-demoapp"

#: The smallest policy of the role that backs up and restores.
POLICY = """\
{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["s3:PutObject","s3:GetObject","s3:ListBucket"],
      "Resource": [
        "arn:aws:s3:::chuden-demoapp",
        "arn:aws:s3:::chuden-demoapp/sqlite-backup/*"
      ]
    }
  ]
}
"""

#: The lines of a backup that succeeded.
OUTPUT = """\
[sqlite-backup] Integrity: ok
[sqlite-backup] Compressed size: 123456 bytes
[sqlite-backup] Local saved: /opt/chuden-demoapp_backups/sqlite/manual_generator_20250908_120001.db.gz
[sqlite-backup] Uploaded to s3://chuden-demoapp/sqlite-backup/2025/09/manual_generator_20250908_120001.db.gz
[sqlite-backup] Updated latest marker
[sqlite-backup] Backup completed successfully
"""  # noqa: E501

#: What is added by `sudo crontab -e`.
CRON_LINE = (
    "0 * * * * /opt/chuden-demoapp/infra/scripts/backup_sqlite_to_s3.sh "
    ">> /var/log/sqlite_backup.log 2>&1"
)

SERVICE = """\
[Unit]
Description=SQLite Backup to S3
After=docker.service

[Service]
Type=oneshot
Environment=S3_BUCKET=chuden-demoapp
WorkingDirectory=/opt/chuden-demoapp
ExecStart=/opt/chuden-demoapp/infra/scripts/backup_sqlite_to_s3.sh
"""
TIMER = """\
[Unit]
Description=Run SQLite Backup hourly

[Timer]
OnCalendar=hourly
Persistent=true

[Install]
WantedBy=timers.target
"""

#: Its variables and their defaults.
VARIABLES = {
    "S3_BUCKET": BUCKET,
    "SQLITE_VOLUME_NAME": "manual_instance",
    "DB_FILE_NAME": "manual_generator.db",
    "RETAIN_LOCAL_DAYS": "7",
}

#: Its sections, without what stands in brackets behind some.
SECTIONS = (
    *("目的", "構成概要", "追加ファイル", "事前要件", "手動実行手順", "環境変数"),
    *("Cron による自動化", "systemd タイマー方式", "復元手順", "整合性/健全性チェック"),
    *("注意点", "今後の拡張案"),
)


def policy_for(bucket: str) -> dict[str, Any]:
    """Return the guide's policy, of another bucket."""
    document: dict[str, Any] = json.loads(POLICY.replace(BUCKET, bucket))
    return document
