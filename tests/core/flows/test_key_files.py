"""Files that are made for keys, and folders that are the same."""

import pytest

from pipeguard.core.flows.key_files import (
    LONGEST_PATH,
    is_key_file,
    is_same_folder,
    written_file,
)
from pipeguard.core.protocol.json_values import JsonValue


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
    ("value", "file"),
    [
        (called(path="a/.env", content="x"), "a/.env"),
        (called(relative_path="b.py", content="x"), "b.py"),
        (called(path="a", file_path="b"), ""),
        (called(path="a" * (LONGEST_PATH + 1)), ""),
        (called(path=["a"]), ""),
        ({"params": {}}, ""),
        ("text", ""),
    ],
)
def test_the_only_path_of_a_call_is_the_file_that_it_writes(value: JsonValue, file: str) -> None:
    assert written_file(value) == file


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
