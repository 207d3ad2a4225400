from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from Neuron_Selection.errors import InputError, MachineError, UsageError
from Neuron_Selection.FileFormats.storage.atomic_files import (
    GIB,
    read_bytes,
    sha256_of,
    write_atomically,
    write_together,
    written_atomically,
)
from tests.raised import parts, raises


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every path in these tests is relative, so that messages are known to the letter."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def fail_with(number):
    def fail(*_args, **_more):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_file_is_made_with_the_folders_it_needs(here):
    write_atomically(Path("new/deep/out.json"), b"content")
    assert files_of(here / "new/deep") == {"out.json": b"content"}


def test_a_file_is_replaced_whole(here):
    Path("out.json").write_bytes(b"something longer than what follows")
    write_atomically(Path("out.json"), b"new")
    assert files_of(here) == {"out.json": b"new"}


@pytest.mark.parametrize("ending", [ValueError("in the middle"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_exception_in_the_middle_leaves_the_old_bytes_and_no_temporary_file(here, ending):
    Path("out.json").write_bytes(b"old")
    with pytest.raises(type(ending)), written_atomically(Path("out.json")) as file:
        file.write(b"half of the n")
        assert Path("out.json").read_bytes() == b"old"
        raise ending
    assert files_of(here) == {"out.json": b"old"}


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (os, "fsync", errno.EIO),
        (os, "fsync", errno.EDQUOT),
        (Path, "replace", errno.EACCES),
        (Path, "replace", errno.EXDEV),
    ],
)
def test_a_failing_disk_leaves_the_old_bytes_and_no_temporary_file(here, monkeypatch, owner, name, number):
    Path("out.json").write_bytes(b"old")
    with monkeypatch.context() as broken:
        broken.setattr(owner, name, fail_with(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            write_atomically(Path("out.json"), b"new")
    assert files_of(here) == {"out.json": b"old"}


def test_the_bytes_are_on_the_disk_before_the_name_is_and_then_the_folder_is(here, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda old, new: (order.append("replace"), replace(old, new)))
    write_atomically(Path("out.json"), b"new")
    assert order[0].startswith(f"{here}/.")
    assert order[1:] == ["replace", str(here)]


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_written_through_a_link(here, there):
    (here / "elsewhere").mkdir()
    if there:
        (here / "elsewhere/real.json").write_bytes(b"old")
    Path("out.json").symlink_to("elsewhere/real.json")
    with raises(UsageError, file="out.json", names=["elsewhere/real.json"]):
        write_together({Path("first.json"): b"new", Path("out.json"): b"new"})
    with (
        raises(UsageError, file="out.json", names=["elsewhere/real.json"]),
        written_atomically(Path("out.json")),
    ):
        pass
    assert Path("out.json").is_symlink()
    assert files_of(here / "elsewhere") == ({"real.json": b"old"} if there else {})
    assert not Path("first.json").exists()


def test_a_folder_that_is_a_link_is_written_into(here):
    (here / "elsewhere").mkdir()
    Path("folder").symlink_to("elsewhere")
    write_atomically(Path("folder/out.json"), b"new")
    assert files_of(here / "elsewhere") == {"out.json": b"new"}


def make_fifo():
    os.mkfifo("odd")


def make_directory():
    Path("odd").mkdir()


def make_loop():
    Path("odd").symlink_to("other")
    Path("other").symlink_to("odd")


def make_socket():
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("odd")


def make_device_link():
    Path("odd").symlink_to("/dev/zero")


NOT_A_FILE = parts(found="a pipe, socket or device", expected="a file")
NOT_OPENED = parts(problem="cannot be opened as a file")


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (make_fifo, NOT_A_FILE),
        (make_directory, parts(found="a directory", expected="a file")),
        (make_loop, NOT_OPENED),
        (make_socket, NOT_OPENED),
        (make_device_link, NOT_A_FILE),
    ],
)
def test_what_is_no_regular_file_is_neither_read_nor_replaced(here, make, error):
    make()
    before = sorted(here.iterdir()), os.lstat("odd").st_mode
    with raises(InputError, file="odd", **error):
        read_bytes(Path("odd"))
    if Path("odd").is_symlink():
        kind, reason = UsageError, parts(names=[Path("odd").readlink()])
    else:
        kind, reason = MachineError, parts(problem="is a directory, pipe or device; cannot be written as a file")
    with raises(kind, file="odd", **reason):
        write_atomically(Path("odd"), b"new")
    assert (sorted(here.iterdir()), os.lstat("odd").st_mode) == before


def test_a_folder_that_is_a_file_is_an_error_of_the_machine(here):
    Path("results").write_bytes(b"old")
    with raises(MachineError, file="results", problem="is not a folder; out.json cannot be written into it"):
        write_atomically(Path("results/out.json"), b"new")
    assert files_of(here) == {"results": b"old"}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("absent.json", parts(problem="no such file")),
        ("absent/absent.json", parts(problem="no such file")),
        ("file/inside.json", parts(problem="no such file")),
        ("nul\0byte", parts(problem="cannot be opened as a file")),
        ("x" * 300, parts(problem="cannot be opened as a file")),
    ],
)
def test_a_path_without_a_file_is_named(here, path, error):
    Path("file").write_bytes(b"")
    hint = "try another"
    with raises(InputError, file=Path(path), hint=hint if "such" in error["problem"] else "", **error):
        read_bytes(Path(path), hint=hint)


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(here):
    with Path("huge").open("wb") as file:
        file.truncate(3 * GIB)  # a hole: it takes no room
    with raises(InputError, file="huge", found="3,221,225,472 bytes", expected="at most 2,147,483,648"):
        read_bytes(Path("huge"))
    Path("just").write_bytes(b"abc")
    assert read_bytes(Path("just"), limit=3) == b"abc"


def test_a_file_that_grows_while_it_is_read_is_refused(here, monkeypatch):
    Path("log").write_bytes(b"12345")
    small = os.stat_result((0o100644, 0, 0, 1, 0, 0, 2, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _descriptor: small)
    with raises(InputError, file="log", problem="grows while it is read"):
        read_bytes(Path("log"), limit=4)


def test_a_file_without_permission_is_the_machines_affair(here, monkeypatch):
    monkeypatch.setattr(os, "open", fail_with(errno.EACCES))
    with pytest.raises(OSError, match="Permission denied"):
        read_bytes(Path("secret"))


def test_a_link_to_a_file_is_read(here):
    Path("real").write_bytes(b"abc")
    Path("link").symlink_to("real")
    assert read_bytes(Path("link")) == b"abc"
    assert sha256_of(b"abc").startswith("ba7816bf8f01cfea")


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_of_files_that_belong_together_none_is_replaced_when_one_cannot_be_written(here, monkeypatch, broken):
    one, other = Path("results.json"), Path("results.meta.json")
    write_together({one: b"old", other: b"old meta"})
    calls = []
    fsync = os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    if broken < 3:
        with pytest.raises(OSError, match="No space"):
            write_together({one: b"new", other: b"new meta"})
        assert files_of(here) == {"results.json": b"old", "results.meta.json": b"old meta"}
    else:  # the folder's own: both files are complete
        write_together({one: b"new", other: b"new meta"})
        assert files_of(here) == {"results.json": b"new", "results.meta.json": b"new meta"}


def test_of_files_that_belong_together_the_last_takes_its_place_first(here, monkeypatch):
    replaced = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda old, new: (replaced.append(new.name), replace(old, new)))
    write_together({Path("results.json"): b"new", Path("results.meta.json"): b"new meta"})
    assert replaced == ["results.meta.json", "results.json"]
