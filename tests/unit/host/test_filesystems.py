"""
Which mount a file lies on, as the system tells it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.engine.source import refuse_unsafe
from litekeep.errors import UnsafeFileSystem
from litekeep.host.filesystems import FOREIGN_KERNEL, MOUNTINFO, Mount, mount_of

MOUNTS = r"""
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
22 21 0:20 / /proc rw - proc proc rw
30 21 0:40 / /srv rw,relatime shared:5 master:1 - xfs /dev/vdb rw
31 30 0:41 / /srv/share rw - cifs //server/share rw
32 30 0:42 / /srv/with\040blank\134and\011tab rw - nfs4 server:/x rw
33 21 0:43 / /cover rw - nfs server:/y rw
34 33 0:44 / /cover rw - tmpfs none rw
35 21 254:1 /data/app.db /app/data/app.db rw - ext4 /dev/vda1 rw
36 21 0:45 / /mac rw - fuse.grpcfuse grpcfuse rw
37 21 0:46 / /box rw - vboxsf share rw
38 21 0:47 / /lima rw - 9p mount0 rw
39 21 0:48 / /vm rw - virtiofs shared rw
""".lstrip()


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/app.db", "/", "ext4"),
        ("/srv/app.db", "/srv", "xfs"),
        ("/srv/share/app.db", "/srv/share", "cifs"),
        ("/srv/share2/app.db", "/srv", "xfs"),
        ("/srv/with blank\\and\ttab/app.db", "/srv/with blank\\and\ttab", "nfs4"),
        ("/cover/app.db", "/cover", "tmpfs"),
        ("/app/data/app.db", "/app/data/app.db", "ext4"),
        ("/app/data/other.db", "/", "ext4"),
    ],
)
def test_a_file_lies_on_the_innermost_and_latest_mount(mountinfo, path, point, kind):
    assert mount_of(path, mountinfo=mountinfo) == Mount(point, kind)


@pytest.mark.parametrize(
    "path", ["/srv/share/a.db", "/mac/a.db", "/box/a.db", "/lima/a.db", "/vm/a.db"]
)
def test_what_another_kernel_is_behind_is_refused_by_name(mountinfo, path):
    mount = mount_of(path, mountinfo=mountinfo)
    assert mount is not None
    assert mount.is_foreign_kernel
    with pytest.raises(UnsafeFileSystem, match=f"{path} lies on {mount.type}") as caught:
        refuse_unsafe(path, mountinfo=mountinfo)
    assert "allow_unsafe_file_system = true" in str(caught.value.hint)


@pytest.mark.parametrize("path", ["/app.db", "/srv/a.db", "/cover/a.db", "/app/data/other.db"])
def test_disks_of_this_machine_are_fine(mountinfo, path):
    refuse_unsafe(path, mountinfo=mountinfo)


def test_a_single_mounted_file_is_refused(mountinfo):
    with pytest.raises(UnsafeFileSystem, match="is mounted alone") as caught:
        refuse_unsafe("/app/data/app.db", mountinfo=mountinfo)
    assert "Mount the folder" in str(caught.value.hint)


def test_where_the_system_does_not_tell_nothing_is_refused(tmp_path):
    assert mount_of("/app.db", mountinfo=tmp_path / "nothing") is None
    refuse_unsafe("/app.db", mountinfo=tmp_path / "nothing")


def test_this_machine_tells(tmp_path):
    if not MOUNTINFO.exists():
        pytest.skip("this system has no mountinfo")
    mount = mount_of(str(tmp_path.resolve()))
    assert mount is not None
    assert tmp_path.resolve().is_relative_to(mount.point)


def test_every_name_is_one_that_mountinfo_writes():
    assert all(name == name.strip() and " " not in name for name in FOREIGN_KERNEL)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200), name=st.text(max_size=20))
def test_no_text_is_a_crash(tmp_path_factory, text, name):
    path = tmp_path_factory.mktemp("mounts") / "mountinfo"
    path.write_text(text, errors="replace")
    mount_of(f"/{name}", mountinfo=path)
