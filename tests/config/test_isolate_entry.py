"""Entries of `isolate` inserted into an otherwise unchanged policy. config/isolate_entry.py."""

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.config.isolate_entry import with_entry
from pipeguard.config.isolate_key import IsolateEntries
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.errors import PolicyError
from tests.each import each
from tests.fuzz.budget import tried

TODAY = datetime.date(2026, 11, 23)
ENTRY = {"server": "files", "read": ["~/notes", "/srv/a b"], "loopback": [5432], "keep_home": True}
LAYOUTS = {
    "nothing": "",
    "other keys": "mode: observe  # for now\n",
    "a list": "isolate:\n- server: a\n  # hosts of a\n  hosts: [x.example]\nmode: observe\n",
    "an indented list": "isolate:\n    - server: a\n    - {server: b}\n\n# the end\n",
    "a flow list": "isolate: [{server: a}]\nmode: observe\n",
    "Windows": "mode: observe\r\nisolate:\r\n- server: a\r\n",
}


OWN = {
    "a flow list": "isolate:\n- server: files\n  read: [~/a, ~/b]  # mine\n",
    "lines": "isolate:\n- server: files\n  read:\n  # the first\n  - ~/a\n  - ~/b\nmode: observe\n",
    "indented lines": "isolate:\n  - server: files\n    read:\n      - ~/a  # a\n      - '~/b'",
    "a flow entry": "isolate:\n- {server: files, read: [~/a, '~/b'], loopback: [5432]}\n",
    "the list first": "isolate:\n- read: [~/a, ~/b]\n  server: files\n",
    "all on one line": "isolate: [{server: files, read: [~/a, ~/b]}, {server: other}]\n",
    "a list with comments": "isolate:\n- server: files\n  read: [~/a,  # mine\n    ~/b]\n",
    "Windows": "isolate:\r\n- server: files\r\n  read:\r\n  - ~/a\r\n  - ~/b\r\nmode: observe\r\n",
}
# A layout, what is given, and what the file says then.
EXACT = [
    (OWN["a flow list"], {"read": ["~/c"]}, ("~/b]", "~/b, ~/c]")),
    (OWN["a list with comments"], {"read": ["~/c"]}, ("~/b]", "~/b,\n    ~/c]")),
    (OWN["a flow entry"], {"keep_home": True}, ("5432]}", "5432], keep_home: true}")),
    (OWN["lines"], {"read": ["~/c: d"]}, ("~/b\n", "~/b\n  - '~/c: d'\n")),
    (OWN["indented lines"], {"read": ["~/c"]}, ("~/b'", "~/b'\n      - ~/c")),
]


def read(text: str) -> IsolateEntries:
    return parse_policy(text, "p", PolicyScope.USER, now=0.0, today=TODAY).isolate


def written(folder: Path, text: str) -> str:
    path = folder / "policy.yaml"
    path.write_bytes(text.encode())
    return str(path)


@each("layout", list(LAYOUTS))
def test_an_entry_stands_at_the_end_and_all_else_stays(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(LAYOUTS[layout].encode())
    changed = with_entry(str(path), ENTRY, TODAY)
    before = read(LAYOUTS[layout])
    assert read(changed)[:-1] == before
    (alone,) = read(with_entry(str(tmp_path / "none"), ENTRY, TODAY))
    assert read(changed)[-1] == alone
    rest = iter(changed)
    assert all(letter in rest for letter in LAYOUTS[layout])  # nothing was taken away
    assert path.read_bytes() == LAYOUTS[layout].encode()


def test_a_layout_that_is_not_safe_is_refused_with_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("{mode: observe}\n")  # nothing can follow it
    with pytest.raises(PolicyError, match="- server: files"):
        with_entry(str(path), ENTRY, TODAY)


@tried(100)
@given(st.lists(st.text().filter(str.isprintable), max_size=3))
def test_any_path_is_read_as_it_was_written(paths: list[str]) -> None:
    paths = [f"/{path}." for path in paths]
    entry = {"server": "x", "read": paths} if paths else {"server": "x"}
    (found,) = read(with_entry("/nowhere/policy.yaml", entry, TODAY))
    assert found.read == tuple(paths)


@each("layout", list(OWN))
def test_a_value_goes_into_the_entry_of_the_server(layout: str, tmp_path: Path) -> None:
    text = OWN[layout]
    path = written(tmp_path, text)
    for entry in (
        {"server": "files", "read": ["~/c: d"]},
        {"server": "files", "write": ["~/a", "~/w"]},
        {"server": "files", "loopback": [8080], "hosts": ["x.example"], "keep_home": True},
    ):
        changed = with_entry(path, entry, TODAY)
        assert len(read(changed)) == len(read(text))
        more = {kind: entry[kind] for kind in entry if kind != "server"}
        for kind, values in more.items():
            found = getattr(read(changed)[0], kind)
            before = getattr(read(text)[0], kind)
            wanted = (*before, *map(str, values)) if isinstance(values, list) else values
            assert found == wanted


def test_entries_for_other_servers_stay_as_they_are(tmp_path: Path) -> None:
    text = "isolate:\n- {server: 'file*', read: [~/a]}\n- {server: files, tag: x, read: [~/a]}\n"
    path = written(tmp_path, text)
    changed = with_entry(path, {"server": "files", "read": ["~/b"]}, TODAY)
    assert changed.startswith(text)
    assert [each.read for each in read(changed)] == [("~/a",), ("~/a",), ("~/b",)]
    assert read(changed)[2].server == "files"
    assert not read(changed)[2].tag


@each("text, given, change", EXACT)
def test_only_what_changes_is_written(
    text: str, given: dict[str, object], change: tuple[str, str], tmp_path: Path
) -> None:
    changed = with_entry(written(tmp_path, text), {"server": "files", **given}, TODAY)
    assert changed == text.replace(*change)


def test_an_entry_that_shares_parts_with_another_is_left_alone(tmp_path: Path) -> None:
    text = "isolate:\n- server: files\n  read: &list [~/a]\n- {server: b, read: *list}\n"
    changed = with_entry(written(tmp_path, text), {"server": "files", "read": ["~/b"]}, TODAY)
    assert changed == f"{text}- server: files\n  read: [~/b]\n"
