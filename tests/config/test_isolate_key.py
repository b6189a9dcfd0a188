"""The key `isolate` of the policy. config/isolate_key.py."""

import datetime

import pytest

from pipeguard.config.isolate_key import ENGINES, LIMITS, IsolateEntries, IsolateEntry, find_entries
from pipeguard.config.policy_file import PolicyScope, parse_policy
from pipeguard.errors import PolicyError
from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.profile import NAMES
from tests.snapshot import Snapshot

TODAY = datetime.date(2026, 11, 20)
WHOLE = """
isolate:
- server: "files-*"
  engine: bubblewrap
  read: [~/a, /b]
  write: ["~/c d"]
  hosts: [api.example.com, "*.example.org:8443"]
  loopback: [5432, 8080]
  keep_home: true
  roots: write
  limits: {memory: 1GiB, file-size: 2 MiB, processes: 20}
- server: "*"
"""


def parse(text: str, scope: PolicyScope = PolicyScope.USER) -> IsolateEntries:
    return parse_policy(text, "p.yaml", scope, now=0.0, today=TODAY).isolate


def test_an_entry_has_all_that_is_given() -> None:
    first, second = parse(WHOLE)
    assert first == IsolateEntry(
        "files-*",
        "",
        "bubblewrap",
        ("~/a", "/b"),
        ("~/c d",),
        "write",
        ("api.example.com", "*.example.org:8443"),
        ("5432", "8080"),
        True,
        ("memory=1GiB", "file-size=2 MiB", "processes=20"),
    )
    assert second == IsolateEntry()


def test_entries_apply_by_the_servers_name() -> None:
    entries = parse(WHOLE)
    assert find_entries("files-home", entries) == entries
    assert find_entries("github", entries) == entries[1:]
    assert find_entries("github", entries[:1]) == ()


WRONG = (
    *("engine: auto", "server: a, engine: jail", "server: a, files: [x]", "server: a, read: x"),
    *("server: a, limits: {cores: 1}", "server: a, keep_home: maybe", "server: a, roots: all"),
)


def test_what_is_wrong_is_told_at_its_place(snapshot: Snapshot) -> None:
    told = []
    for text in (*(f"isolate: [{{{entry}}}]" for entry in WRONG), "isolate: {server: a}"):
        with pytest.raises(PolicyError) as caught:
            parse(text)
        told.append(f"{text}\n! {caught.value}")
    snapshot.text("policy-isolate-errors", "\n\n".join(told))


def test_entries_apply_by_the_servers_tags() -> None:
    entries = parse("isolate: [{tag: 'web*', hosts: [a.test]}, {server: x, tag: files}]")
    assert find_entries("x", entries) == ()
    assert find_entries("x", entries, ["other", "web-eu"]) == entries[:1]
    assert find_entries("x", entries, ["files", "web"]) == entries
    assert find_entries("y", entries, ["files"]) == ()


def test_the_names_are_those_that_isolation_knows() -> None:
    assert set(LIMITS) == set(NAMES)
    assert {Isolation.AUTO, Isolation.NONE} < set(ENGINES)


def test_a_proxy_is_named_in_the_user_s_own_file_alone() -> None:
    text = "egress: {proxy: 'http://user:secret@proxy.example:3128'}\n"
    file = parse_policy(text, "p.yaml", PolicyScope.USER, now=0.0, today=TODAY)
    assert file.egress_proxy == "http://user:secret@proxy.example:3128"
    with pytest.raises(PolicyError, match="your own policy file") as error:
        parse(text, PolicyScope.PROJECT)
    assert "secret" not in str(error.value)
    with pytest.raises(PolicyError, match="`proxy` is missing"):
        parse("egress: {}\n")
