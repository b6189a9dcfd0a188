"""A view as the mounts and the image of a container. isolation/container_files.py."""

import csv
import io
import os
import tarfile
from pathlib import Path

from pipeguard.isolation.container_files import (
    mount_arguments,
    sort_files,
    store_content,
    unsettable,
)
from pipeguard.isolation.view import FileView, Mount, MountKind
from tests.each import each


def view(*mounts: Mount) -> FileView:
    return FileView(mounts, "/", "/home/ada", 1000)


def words(folder: Path, *mounts: Mount) -> list[str]:
    files = sort_files(view(*mounts), ())
    return list(mount_arguments(files.mounts, str(folder), 1000))


def fields(text: str) -> list[str]:
    return next(csv.reader([text], strict=True))


def test_outer_mounts_come_first_and_the_last_of_a_path_counts(tmp_path: Path) -> None:
    made = words(
        tmp_path,
        Mount(MountKind.READ, "/a/b", "/x"),
        Mount(MountKind.EMPTY, "/a"),
        Mount(MountKind.EMPTY, "/tmp"),
        Mount(MountKind.WRITE, "/tmp", "/y"),
    )
    assert made == [
        *("--tmpfs", "/a:rw,exec,size=1000,mode=0777,notmpcopyup"),
        *("--mount", "type=bind,source=/y,destination=/tmp"),
        *("--mount", "type=bind,source=/x,destination=/a/b,readonly"),
    ]


@each("path", ['/a"b', "/a,readonly=false", "/ä b", "/a\nb"])
def test_any_path_stays_one_field(path: str, tmp_path: Path) -> None:
    _, text = words(tmp_path, Mount(MountKind.READ, path, path))
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows == [["type=bind", f"source={path}", f"destination={path}", "readonly"]]


def test_texts_are_files_that_nobody_may_write(tmp_path: Path) -> None:
    _, text = words(tmp_path, Mount(MountKind.TEXT, "/etc/hosts", "content"))
    path = Path(fields(text)[1].removeprefix("source="))
    assert path.read_text() == "content"
    assert path.stat().st_mode & 0o777 == 0o444
    assert str(path) == store_content(str(tmp_path), b"content")  # made once
    assert "readonly" in fields(text)


def test_what_is_hidden_is_covered_by_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    hidden = [Mount(MountKind.HIDDEN, str(tmp_path / name)) for name in ("file", "folder")]
    _, file, _, folder = words(tmp_path / "own", *hidden)
    assert fields(file)[1] == f"source={os.devnull}"
    nothing = Path(fields(folder)[1].removeprefix("source="))
    assert nothing.stat().st_mode & 0o777 == 0
    assert "readonly" in fields(file)
    assert "readonly" in fields(folder)


def test_what_is_mounted_in_what_may_be_read_may_be_read_too(tmp_path: Path) -> None:
    for name in ("disk", "secret/disk", "own"):
        (tmp_path / name).mkdir(parents=True)
    mounts = (
        Mount(MountKind.READ, "/given", str(tmp_path)),
        Mount(MountKind.HIDDEN, "/given/secret"),
        Mount(MountKind.EMPTY, "/given/own"),
    )
    points = [str(tmp_path / name) for name in ("disk", "secret/disk", "own")]
    files = sort_files(view(*mounts), [*points, str(tmp_path), "/elsewhere"])
    assert [mount.path for mount in files.mounts if mount.kind is MountKind.READ] == [
        "/given",
        "/given/disk",
    ]


def test_links_are_in_the_image_or_made_in_what_is_mounted() -> None:
    files = sort_files(
        view(
            Mount(MountKind.LINK, "/bin", "usr/bin"),
            Mount(MountKind.EMPTY, "/home/ada"),
            Mount(MountKind.LINK, "/home/ada/bin/x", "/opt/x"),
        ),
        (),
    )
    with tarfile.open(fileobj=io.BytesIO(files.image)) as archive:
        assert [(each.name, each.linkname) for each in archive] == [("bin", "usr/bin")]
    assert files.links == (("/home/ada/bin/x", "/opt/x"),)
    again = sort_files(view(Mount(MountKind.LINK, "/bin", "usr/bin")), ())
    assert again.image == files.image  # the same bytes, whenever they are made


def test_the_folder_that_a_server_starts_in_is_empty_and_covers_nothing(tmp_path: Path) -> None:
    started, home = Mount(MountKind.FOLDER, "/work"), Mount(MountKind.WRITE, "/work", "/kept")
    (option, empty) = words(tmp_path, started)
    assert option == "--mount"
    assert empty.endswith("destination=/work,readonly")
    # A link in it is in the image, with the folder: nobody could make it in a mount of nothing.
    assert words(tmp_path, started, Mount(MountKind.LINK, "/work/x", "/x")) == []
    inside = Mount(MountKind.READ, "/work/x", "/x")
    assert words(tmp_path, started, inside) == words(tmp_path, inside)
    assert words(tmp_path, home, started) == words(tmp_path, home)
    own = Mount(MountKind.EMPTY, "/tmp")
    assert words(tmp_path, own, Mount(MountKind.FOLDER, "/tmp/a")) == words(tmp_path, own)
    for path in ("/", "/dev", "/proc/self"):
        assert words(tmp_path, Mount(MountKind.FOLDER, path)) == []


def test_variables_that_no_shell_sets_are_left_out() -> None:
    names = dict.fromkeys(("A_1", "a-b", "1a", "PPID", "x.y", "ä", ""), "")
    assert unsettable(names) == ["a-b", "1a", "PPID", "x.y", "ä", ""]
