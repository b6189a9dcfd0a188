"""Files for keys, and folders for them."""

import pytest

from pipeguard.detect.flows import key_files
from pipeguard.firewall.protocol.json_values import JsonValue
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def called(**arguments: JsonValue) -> JsonValue:
    return {"params": {"name": "write_file", "arguments": arguments}}


@each("path, expected", CASES["keys_belong_in_files_that_are_made_for_them"])
def test_keys_belong_in_files_that_are_made_for_them(path: str, *, expected: bool) -> None:
    assert key_files.is_key_file(path) is expected


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
        (called(rows=["x"] * key_files.MOST_STRINGS), ()),
        (called(rows=["x"] * key_files.MOST_STRINGS, path="a"), (key_files.UNREAD,)),
        ({"params": {}}, ()),
        ("text", ()),
    ],
)
def test_a_call_may_write_each_path_that_it_names(value: JsonValue, files: tuple[str, ...]) -> None:
    assert key_files.written_files(value) == files


@each(
    "path",
    [
        *CASES["some_folders_are_seen_by_others"],
        key_files.UNREAD,
        "www/" + "./" * key_files.LONGEST_PATH + "a",
    ],
)
def test_some_folders_are_seen_by_others(path: str) -> None:
    assert key_files.is_seen_by_others(path)


@each("path", CASES["others_are_seen_by_who_owns_them"])
def test_others_are_seen_by_who_owns_them(path: str) -> None:
    assert not key_files.is_seen_by_others(path)


@each("one, other, expected", CASES["files_of_one_folder"])
def test_files_of_one_folder(one: str, other: str, *, expected: bool) -> None:
    assert key_files.is_same_folder(one, other) is key_files.is_same_folder(other, one) is expected
