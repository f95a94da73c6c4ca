"""
moto with IAM enforced, in a process of its own: that switch is one for all of a process.

    python -m tests.servers.iam      prints its endpoint and the key of one who may do all,
                                     as JSON; ends when standard input does
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers.s3 import S3Server

TOP = Path(__file__).parents[2]
_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@contextlib.contextmanager
def iam_server() -> Iterator[S3Server]:
    """Run it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers.iam"],
        cwd=TOP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        line = next(line for line in process.stdout if line.startswith("["))
        yield S3Server(*json.loads(line))
        process.stdin.close()


def add_identity(server: S3Server, name: str, policy: dict[str, Any]) -> None:
    """Let there be *name* in `server.others`, who may do what *policy* allows."""
    server.others[name] = _new_user(server.client("iam"), name, policy)


def keys_of_role(server: S3Server, name: str, policy: dict[str, Any]) -> tuple[str, str, str]:
    """Return key, secret and token of a new role that may do what *policy* allows."""
    client = server.client("iam")
    # moto 5.2 cannot read a trust in a service, as that in EC2 is.
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}}
    document = {"Version": "2012-10-17", "Statement": [{**trust, "Action": "sts:AssumeRole"}]}
    role = client.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))
    client.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    keys = server.client("sts").assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="test")
    taken = keys["Credentials"]
    return taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"]


def _new_user(client: Any, name: str, policy: dict[str, Any]) -> tuple[str, str]:
    client.create_user(UserName=name)
    client.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = client.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def _serve() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    admin = _new_user(S3Server(endpoint, "AKNOBODY", "SKNOBODY").client("iam"), "admin", _ALL)
    switch = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
    )
    with urllib.request.urlopen(switch):
        pass
    sys.stdout.write(json.dumps([endpoint, *admin]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    _serve()
