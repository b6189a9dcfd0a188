"""Files for keys, and folders for them."""

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
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def called(**arguments: JsonValue) -> JsonValue:
    return {"params": {"name": "write_file", "arguments": arguments}}


@each("path, expected", CASES["keys_belong_in_files_that_are_made_for_them"])
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


@each(
    "path", [*CASES["some_folders_are_seen_by_others"], UNREAD, "www/" + "./" * LONGEST_PATH + "a"]
)
def test_some_folders_are_seen_by_others(path: str) -> None:
    assert is_seen_by_others(path)


@each("path", CASES["others_are_seen_by_who_owns_them"])
def test_others_are_seen_by_who_owns_them(path: str) -> None:
    assert not is_seen_by_others(path)


@each("one, other, expected", CASES["files_of_one_folder"])
def test_files_of_one_folder(one: str, other: str, *, expected: bool) -> None:
    assert is_same_folder(one, other) is is_same_folder(other, one) is expected
