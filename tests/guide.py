"""
What the guide says, to the letter: its policy, its bucket, its commands.
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


def policy_for(bucket: str) -> dict[str, Any]:
    """Return the guide's policy, of another bucket."""
    document: dict[str, Any] = json.loads(POLICY.replace(BUCKET, bucket))
    return document
