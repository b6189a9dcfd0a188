"""Entries of `isolate` written into a policy file that stays as it was. config/isolate_entry.py."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.config.isolate_entry import with_entry
from pipeguard.config.isolate_key import IsolateEntry
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.errors import PolicyError
from tests.each import each

TODAY = datetime.date(2026, 11, 23)
ENTRY = {"server": "files", "read": ["~/notes", "/srv/a b"], "loopback": [5432], "keep_home": True}
LAYOUTS = {
    "nothing": "",
    "comments alone": "# mine\n",
    "other keys": "mode: observe  # for now\n",
    "no last newline": "mode: observe",
    "a list": "isolate:\n- server: a\n  # hosts of a\n  hosts: [x.example]\nmode: observe\n",
    "an indented list": "isolate:\n    - server: a\n    - {server: b}\n\n# the end\n",
    "a flow list": "isolate: [{server: a}]\nmode: observe\n",
    "an empty flow list": "isolate: []\n",
    "Windows": "mode: observe\r\nisolate:\r\n- server: a\r\n",
}


def read(text: str) -> tuple[IsolateEntry, ...]:
    return parse_policy(text, "p", PolicyScope.USER, now=0.0, today=TODAY).isolate


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


def test_an_invalid_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("isolate: [")
    with pytest.raises(PolicyError):
        with_entry(str(path), ENTRY, TODAY)


@given(st.lists(st.text().filter(str.isprintable), max_size=3))
def test_any_path_is_read_as_it_was_written(paths: list[str]) -> None:
    paths = [f"/{path}." for path in paths]
    entry = {"server": "x", "read": paths} if paths else {"server": "x"}
    (found,) = read(with_entry("/nowhere/policy.yaml", entry, TODAY))
    assert found.read == tuple(paths)
