"""
Secrets in a build context, and what a .dockerignore leaves out of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from litekeep.doctor.dockerignore import is_ignored, parse_patterns
from litekeep.doctor.findings import Finding
from litekeep.doctor.images import image_secrets, secret_keys

SECRETS = "DEBUG=1\nSECRET_KEY=hunter2\nOPENAI_API_KEY='sk-123'\n"


def context(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def looked(folder: Path) -> Finding:
    (found,) = image_secrets(folder)
    return found


def test_secrets_in_a_context_are_told_by_their_keys_and_never_by_their_values(tmp_path: Path):
    found = looked(context(tmp_path, Dockerfile="FROM app\nCOPY . .\n", __env=SECRETS))

    assert found.state == "warn"
    assert "(SECRET_KEY, OPENAI_API_KEY)" in found.detail
    assert "there is no .dockerignore" in found.detail
    assert "hunter2" not in f"{found.detail}{found.hint}"
    assert "sk-123" not in f"{found.detail}{found.hint}"
    assert "SSM Parameter Store" in found.hint


@pytest.mark.parametrize("ignore", [".env", "/.env", "*", ".env*", "**/.env", "*\n!app"])
def test_what_is_left_out_is_well(tmp_path: Path, ignore: str):
    context(tmp_path, Dockerfile="", __env=SECRETS, __dockerignore=ignore)

    assert looked(tmp_path).state == "ok"


@pytest.mark.parametrize("ignore", ["", "env", "#.env", ".env\n!.env", "*/.env", ".env/x", "!.env"])
def test_what_is_not_left_out_is_told_with_the_file_that_fails_to(tmp_path: Path, ignore: str):
    context(tmp_path, Dockerfile="", __env=SECRETS, __dockerignore=ignore)

    found = looked(tmp_path)
    assert found.state == "warn"
    assert ".dockerignore does not leave it out" in found.detail


def test_a_file_of_a_dockerfiles_own_counts_before_the_common_one(tmp_path: Path):
    context(tmp_path, Dockerfile="", __env=SECRETS, __dockerignore="", Dockerfile__dockerignore="*")
    assert looked(tmp_path).state == "ok"

    context(tmp_path, __dockerignore="*", Dockerfile__dockerignore="")
    assert looked(tmp_path).state == "warn"


@pytest.mark.parametrize("name", ["Dockerfile", "Containerfile", "Dockerfile.prod", "a.dockerfile"])
def test_each_usual_name_of_a_dockerfile_is_known(tmp_path: Path, name: str):
    context(tmp_path, __env__production=SECRETS)
    assert looked(tmp_path).state == "ok"  # it is no context
    (tmp_path / name).touch()
    assert looked(tmp_path).state == "warn"


@pytest.mark.parametrize(
    "files",
    [
        {"__env": "DEBUG=1\nPORT=80\nPUBLIC_KEY=x\nPASSWORD_FILE=/run/x\nAPI_KEY=\n"},
        {"__env__example": SECRETS},
        {"environment": SECRETS},
    ],
)
def test_what_holds_no_secrets_is_well(tmp_path: Path, files: dict[str, str]):
    assert looked(context(tmp_path, Dockerfile="", **files)).state == "ok"


def test_a_file_of_any_bytes_is_read_with_care(tmp_path: Path):
    context(tmp_path, Dockerfile="")
    (tmp_path / ".env").write_bytes(b"\xff\x00SECRET=\xfe\n=\n" + b"x" * 5000)

    assert looked(tmp_path).state == "ok"
    assert secret_keys("=x\nKEY\nA B=c") == ()


# Each is what `docker build` does; tests/engine/test_doctor_docker.py asks it.
MATCHES = [
    ("a/b", "a/b", True),
    ("a", "a/b/c", True),
    ("b", "a/b", False),
    ("*/b", "a/b", True),
    ("*/b", "a/c/b", False),
    ("**/b", "b", True),
    ("**/b", "a/c/b", True),
    ("a/**", "a/c/b", True),
    ("a/**", "b", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("**", "a/b", True),
    ("*", "a/b", True),
    ("?", "a", True),
    ("?", "ab", False),
    ("a?c", "a/c", False),
    ("[ab]", "b", True),
    ("[^ab]", "b", False),
    ("[a-c]x", "bx", True),
    ("a.b", "axb", False),
    ("\\*", "*", True),
    ("\\*", "a", False),
    (".", "a", False),
    ("./a", "a", True),
    ("a/../b", "b", True),
    ("a/", "a/b", True),
    ("  a  ", "a", True),
    ("/a", "a", True),
    ("*\n!a", "a", False),
    ("*\n!a\na", "a", True),
    ("a\n!a/b", "a/b", False),
    ("a\n! a/b", "a/b", False),
    ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", True),
    ("*.md\n!README*.md\nREADME-secret.md", "README.md", False),
    ("# a\na", "a", True),
    ("[", "[", False),
]


@pytest.mark.parametrize(("text", "path", "is_out"), MATCHES)
def test_patterns_mean_what_docker_means_by_them(text: str, path: str, is_out: bool):
    assert is_ignored(path, parse_patterns(text)) is is_out
