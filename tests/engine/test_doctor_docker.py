"""What a doctor says of databases in Docker, on a real engine."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from litekeep.doctor.dockerignore import is_ignored, parse_patterns
from litekeep.host.docker import FOLDER_LABEL
from tests.cli.conftest import Ran
from tests.engine.conftest import VOLUME, start_application
from tests.engine.test_docker import as_nobody
from tests.interpreter import why_private
from tests.servers.docker import DATABASE, INSTANCE, wait_for_rows, wait_until
from tests.unit.doctor.test_images import MATCHES

pytestmark = pytest.mark.engine

NAME = f"docker:{VOLUME}/{DATABASE}"


def found(ran: Ran) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in ran.json["checks"]}


def test_a_database_that_a_container_writes_is_well(engine, shell, application):
    wait_for_rows(application, 10)
    assert shell.run("backup", NAME, "--quiet").code == 0
    before = application.exec_run(["ls", "-ln", INSTANCE]).output

    for name in (NAME, f"docker:manual-generator:{INSTANCE}/{DATABASE}"):
        ran = shell.run("doctor", name, "--json")
        checks = found(ran)
        assert checks["docker"]["state"] == "ok", ran.out
        assert "used by manual-generator (running)" in checks["docker"]["detail"]
        assert [checks[each]["state"] for each in ("database", "permissions")] == ["ok", "ok"]
        assert checks["journal-mode"]["detail"].startswith("WAL")
    assert ran.code in (0, 42)
    # Nothing of the application's was touched, and no file was left there.
    after = application.exec_run(["ls", "-ln", INSTANCE]).output
    assert [line.split()[0::8] for line in after.decode().splitlines()[1:]] == [
        line.split()[0::8] for line in before.decode().splitlines()[1:]
    ]


def test_an_engine_that_is_down_and_a_volume_that_is_not_there_are_failures(engine, shell):
    gone = shell.run("doctor", "docker:none/app.db", "--json")
    assert found(gone)["docker"]["state"] == "ok"
    assert "has no volume 'none'" in found(gone)["database"]["detail"]
    assert gone.code == 11

    down = shell.run("doctor", NAME, "--json", DOCKER_HOST=f"unix://{shell.folder}/none.sock")
    assert found(down)["docker"]["state"] == "fail"
    assert "nobody answers" in found(down)["docker"]["detail"]
    assert found(down)["permissions"]["detail"] == "could not be checked: see database"
    assert down.code == 14


def test_a_container_that_does_not_run_and_one_that_is_unwell_are_told(engine, shell):
    application = start_application(
        engine,
        healthcheck={"test": ["CMD", "false"], "interval": 10**9, "retries": 1},
    )
    wait_for_rows(application, 1)

    def health() -> str:
        application.reload()
        return str(application.attrs["State"]["Health"]["Status"])

    assert wait_until(lambda: health() == "unhealthy")
    unwell = found(shell.run("doctor", NAME, "--json"))["docker"]
    assert unwell["state"] == "warn"
    assert "manual-generator (unhealthy)" in unwell["detail"]

    application.stop()
    name = f"docker:manual-generator:{INSTANCE}/{DATABASE}"
    stopped = found(shell.run("doctor", name, "--json"))["docker"]
    assert (stopped["state"], "(exited)" in stopped["detail"]) == ("warn", True)
    by_volume = found(shell.run("doctor", NAME, "--json"))["docker"]
    assert (by_volume["state"], "no container that runs" in by_volume["detail"]) == ("ok", True)


def test_secrets_in_the_context_of_a_compose_project_that_uses_the_volume_are_told(
    engine, shell, tmp_path: Path
):
    project = tmp_path / "project"
    project.mkdir()
    (project / "Dockerfile").write_text("FROM app\nCOPY . .\n")
    (project / ".env").write_text("SECRET_KEY=hunter2\n")
    application = start_application(engine, labels={FOLDER_LABEL: str(project)})
    wait_for_rows(application, 1)

    ran = shell.run("doctor", NAME, "--json")
    told = [each for each in ran.json["checks"] if each["name"] == "image-secrets"]
    assert [each["state"] for each in told] == ["ok", "warn"]
    assert f"{project}/.env" in told[1]["detail"]
    assert "hunter2" not in ran.out


@pytest.mark.skipif(why_private() is not None, reason=str(why_private()))
def test_who_may_not_use_the_socket_or_enter_the_volume_is_told_so(engine, shell, application):
    wait_for_rows(application, 1)
    engine.socket.parent.chmod(0o755)

    closed = as_nobody(shell, "doctor", NAME, "--json")
    os.chmod(engine.socket, 0o666)
    try:
        entered = as_nobody(shell, "doctor", NAME, "--json")
    finally:
        os.chmod(engine.socket, 0o660)

    checks = found(Ran(closed.returncode, closed.stdout, closed.stderr))
    assert checks["docker"]["state"] == "fail", closed
    assert "user id 65534 may not use the socket" in checks["docker"]["detail"]
    assert "as root" in checks["docker"]["hint"]
    checks = found(Ran(entered.returncode, entered.stdout, entered.stderr))
    assert checks["docker"]["state"] == "ok", entered
    assert "user id 65534 may not enter" in checks["database"]["detail"]


def kept_by_docker(engine, folder: Path, text: str, path: str) -> bool:
    """Say whether `docker build` sends *path* where the .dockerignore holds *text*."""
    (folder / path).parent.mkdir(parents=True)
    (folder / path).touch()
    (folder / "always").touch()
    (folder / ".dockerignore").write_text(f"{text}\n!always\n")
    # Outside the context, so that no pattern can leave it out.
    recipe = folder.with_name(f"{folder.name}.recipe")
    recipe.write_text("FROM scratch\nCOPY . /\n")
    done = subprocess.run(
        ["docker", "build", "--quiet", "--file", recipe, folder],
        env={**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    container = engine.client.containers.create(done.stdout.strip(), ["none"])
    try:
        data = b"".join(container.export())
    finally:
        container.remove()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert "always" in names
    return path in names


@pytest.mark.skipif(shutil.which("docker") is None, reason="not installed: docker")
def test_a_dockerignore_leaves_out_what_docker_build_leaves_out(engine, tmp_path: Path):
    told = {}
    for number, (text, path, is_out) in enumerate(MATCHES):
        if text == "[":
            continue  # docker refuses it, and builds nothing
        folder = tmp_path / f"context-{number}"
        assert is_ignored(path, parse_patterns(text)) is is_out
        told[text, path] = not kept_by_docker(engine, folder, text, path)

    assert told == {(text, path): is_out for text, path, is_out in MATCHES if text != "["}
