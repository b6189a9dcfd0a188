"""What one server is given is changed in its own entry, and all else stays as it was."""

from __future__ import annotations

import datetime
from pathlib import Path

from pipeguard.config.isolate_entry import own_entries, with_entry, without_values
from pipeguard.config.isolate_key import IsolateEntry
from pipeguard.config.policy_file import PolicyScope, parse_policy
from tests.each import each

TODAY = datetime.date(2026, 11, 23)
LAYOUTS = {
    "a flow list": "isolate:\n- server: files\n  read: [~/a, ~/b]  # mine\n",
    "a flow list that ends with a comma": "isolate:\n- server: files\n  read: [~/a, ~/b,]\n",
    "lines": "isolate:\n- server: files\n  read:\n  # the first\n  - ~/a\n  - ~/b\nmode: observe\n",
    "indented lines": "isolate:\n  - server: files\n    read:\n      - ~/a  # a\n      - '~/b'",
    "a flow entry": "isolate:\n- {server: files, read: [~/a, '~/b'], loopback: [5432]}\n",
    "the list first": "isolate:\n- read: [~/a, ~/b]\n  server: files\n",
    "all on one line": "isolate: [{server: files, read: [~/a, ~/b]}, {server: other}]\n",
    "Windows": "isolate:\r\n- server: files\r\n  read:\r\n  - ~/a\r\n  - ~/b\r\nmode: observe\r\n",
}


def entries(text: str) -> tuple[IsolateEntry, ...]:
    return parse_policy(text, "p", PolicyScope.USER, now=0.0, today=TODAY).isolate


def written(folder: Path, text: str) -> str:
    path = folder / "policy.yaml"
    path.write_bytes(text.encode())
    return str(path)


@each("layout", list(LAYOUTS))
def test_a_value_goes_into_the_entry_of_the_server_and_out_of_it_again(
    layout: str, tmp_path: Path
) -> None:
    text = LAYOUTS[layout]
    path = written(tmp_path, text)
    for entry in (
        {"server": "files", "read": ["~/c: d"]},
        {"server": "files", "write": ["~/a", "~/w"]},
        {"server": "files", "loopback": [8080], "hosts": ["x.example"], "keep_home": True},
    ):
        changed = with_entry(path, entry, TODAY)
        assert len(entries(changed)) == len(entries(text))
        more = {kind: entry[kind] for kind in entry if kind != "server"}
        for kind, values in more.items():
            found = getattr(entries(changed)[0], kind)
            before = getattr(entries(text)[0], kind)
            wanted = (*before, *map(str, values)) if isinstance(values, list) else values
            assert found == wanted
        taken = {k: [str(v) for v in vs] if isinstance(vs, list) else () for k, vs in more.items()}
        back = without_values(path, changed, taken, [0], TODAY)
        assert back is not None
        assert entries(back) == entries(text)


@each("layout", list(LAYOUTS))
def test_what_a_new_value_makes_needless_is_left_out(layout: str, tmp_path: Path) -> None:
    text = LAYOUTS[layout]
    path = written(tmp_path, text)
    entry = {"server": "files", "write": ["~/b"]}
    changed = with_entry(path, entry, TODAY, {"read": ["~/b"]})
    found = entries(changed)[0]
    assert (found.read, found.write) == (("~/a",), ("~/b",))
    assert ("# mine" in changed, "# the first" in changed) == ("# mine" in text, "# the" in text)
    empty = without_values(path, text, {"read": ["~/a", "~/b"]}, [0], TODAY)
    assert empty is not None
    assert entries(empty)[0] == entries(text)[0]._replace(read=())
    assert len(entries(empty)) == len(entries(text))  # it is isolated all the same


def test_entries_for_other_servers_stay_as_they_are(tmp_path: Path) -> None:
    text = "isolate:\n- {server: 'file*', read: [~/a]}\n- {server: files, tag: x, read: [~/a]}\n"
    path = written(tmp_path, text)
    changed = with_entry(path, {"server": "files", "read": ["~/b"]}, TODAY)
    assert changed.startswith(text)
    assert [each.read for each in entries(changed)] == [("~/a",), ("~/a",), ("~/b",)]
    assert own_entries("files", entries(changed)) == [2]


def test_comments_in_a_list_that_cannot_be_kept_are_not_lost(tmp_path: Path) -> None:
    text = "isolate:\n- server: files\n  read: [~/a,  # keys\n    ~/b]\n"
    path = written(tmp_path, text)
    changed = with_entry(path, {"server": "files", "read": ["~/c"]}, TODAY)
    assert changed.startswith(text)
    assert entries(changed)[1].read == ("~/c",)
