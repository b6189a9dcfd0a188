"""Files that are made for keys, and folders that are the same."""

import pytest

from pipeguard.detect.flows.key_files import (
    LONGEST_PATH,
    MOST_STRINGS,
    UNREAD,
    is_key_file,
    is_same_folder,
    is_seen_by_others,
    written_files,
)
from pipeguard.firewall.protocol.json_values import JsonValue


def called(**arguments: JsonValue) -> JsonValue:
    return {"params": {"name": "write_file", "arguments": arguments}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".env", True),
        ("/home/ana/shop/.env.local", True),
        ("C:\\shop\\.env.production", True),
        ("tests/fixtures/localhost-key.pem", True),
        (".env.example", False),
        ("env", False),
        ("src/config.ts", False),
        ("/var/www/html/.env", False),
        ("/home/ana/Dropbox/.env", False),
        ("/tmp/a.key", False),
    ],
)
def test_keys_belong_in_files_that_are_made_for_them(path: str, *, expected: bool) -> None:
    assert is_key_file(path) is expected


@pytest.mark.parametrize(
    ("value", "files"),
    [
        (called(path="a/.env", content="x"), ("a/.env",)),
        (called(relative_path="b.py", content="x"), ("b.py",)),
        (called(path="a", file_path="b"), ("a", "b")),
        (called(paths=["a", "b"], note="c"), ("a", "b")),
        (called(files=[{"path": "a", "content": "b"}]), ("a",)),
        (called(content="x"), ()),
        (called(path=None), ()),
        (called(rows=["x"] * MOST_STRINGS), ()),
        (called(rows=["x"] * MOST_STRINGS, path="a"), (UNREAD,)),
        ({"params": {}}, ()),
        ("text", ()),
    ],
)
def test_a_call_may_write_each_path_that_it_names(value: JsonValue, files: tuple[str, ...]) -> None:
    assert written_files(value) == files


@pytest.mark.parametrize(
    "path",
    [
        "/var/www/html/a.txt",
        "site/public/a.js",
        "/home/ana/public_html/a",
        "/home/ana/gh-pages/a",
        "site/.well-known/a",
        "/srv/ftp/a",
        "/home/ana/Google Drive/a",
        "C:\\Users\\ana\\OneDrive - Acme\\a",
        "/Users/ana/Library/CloudStorage/GoogleDrive-ana/a",
        "/Users/ana/Library/Mobile Documents/com~apple~CloudDocs/a",
        "/run/user/1000/gvfs/smb-share:server=nas,share=a/b",
        "\\\\nas\\team\\a",
        "//nas/team/a",
        "smb://nas/a",
        "file://nas/a",
        "../../../var/www/a",
        UNREAD,
        "www/" + "./" * LONGEST_PATH + "a",
    ],
)
def test_some_folders_are_seen_by_others(path: str) -> None:
    assert is_seen_by_others(path)


@pytest.mark.parametrize(
    "path",
    [
        "compose.yml",
        "/home/ana/shop/src/config.py",
        "/home/ana/.local/share/app/a",
        "C:\\shop\\a",
        "\\\\?\\C:\\shop\\a",
        "file:///home/ana/a",
        "/mnt/c/shop/a",
        "public",
        "docs/public.md",
    ],
)
def test_others_are_seen_by_who_owns_them(path: str) -> None:
    assert not is_seen_by_others(path)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("/home/ana/shop/.env", "/home/ana/shop/config.py", True),
        ("shop/.env", "/home/ana/shop/config.py", True),
        ("./a.txt", "b.txt", True),
        ("/home/ana/shop/.env", "/home/ana/blog/a.md", False),
        ("/home/ana/shop/.env", "/home/ana/shop/src/a.ts", False),
        ("/srv/a", "/home/srv/b", False),
    ],
)
def test_files_of_one_folder(one: str, other: str, *, expected: bool) -> None:
    assert is_same_folder(one, other) is is_same_folder(other, one) is expected
