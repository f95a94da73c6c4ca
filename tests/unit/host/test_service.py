"""Units of systemd as services, with a program in systemctl's place: none is PID 1 here."""

from __future__ import annotations

from pathlib import Path

import pytest

from litekeep.errors import DatabaseUnusable, NotFound, StateError, UserError
from litekeep.host.guard import guarded
from litekeep.host.service import Service, find_services, start, stop

# It knows one unit, keeps its state in a file, and takes part in no other doing.
_SYSTEMCTL = """\
#!/bin/sh
state={folder}/state
echo "$*" >> {folder}/calls
case "$*" in
  "show --property=LoadState,ActiveState,Id -- app.service")
    echo LoadState=loaded; echo ActiveState=$(cat $state); echo Id=app.service;;
  show*) echo LoadState=not-found; echo ActiveState=inactive; echo "Id=$4";;
  "stop -- app.service") echo inactive > $state;;
  "start -- app.service") echo active > $state;;
  *) echo "Failed: Access denied" >&2; exit 1;;
esac
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a systemd with one unit, which runs; no container engine is there."""
    program = tmp_path / "bin/systemctl"
    program.parent.mkdir()
    program.write_text(_SYSTEMCTL.format(folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / "state").write_text("active\n")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    return tmp_path


@pytest.mark.parametrize("name", ["app", "app.service"])
def test_a_unit_is_found_stopped_and_started_by_either_name(systemctl: Path, name: str):
    (service,) = find_services([name, "app.service"][:1])

    assert (service.kind, service.id, service.is_running) == ("unit", "app.service", True)
    stop(service)
    assert (systemctl / "state").read_text() == "inactive\n"
    assert not find_services([name])[0].is_running
    start(service)
    assert (systemctl / "state").read_text() == "active\n"


def test_a_unit_that_is_not_there_is_said_and_an_engine_that_is_down_too(systemctl: Path):
    with pytest.raises(NotFound, match=r"no unit other\.service"):
        find_services(["other.service"])
    with pytest.raises(DatabaseUnusable, match="engine is down"):
        find_services(["other"])
    for name in ("", "--all"):
        with pytest.raises(UserError, match="is no service"):
            find_services([name])


def test_a_unit_that_systemd_does_not_stop_is_an_error_with_its_words(systemctl: Path):
    with pytest.raises(StateError, match=r"could not stop other: Failed: Access denied"):
        stop(Service("unit", "other.service", "other", is_running=True))


def test_a_guard_that_is_not_needed_starts_nothing(systemctl: Path):
    stopped = find_services(["app.service"])
    stop(stopped[0])
    with guarded(stopped):
        pass

    assert (systemctl / "state").read_text() == "inactive\n"
