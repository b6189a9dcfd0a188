"""From observations to grants. isolation/learning/reduction.py."""

from pathlib import Path

import pytest

from pipeguard.isolation.learning.observed import LISTED, READ, WRITTEN, Observed
from pipeguard.isolation.learning.reduction import ProfileProposal, propose
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sensitive import sensitive_paths
from pipeguard.isolation.view import SandboxUser
from tests.each import each

FILES = (
    *("notes/a", "notes/b", "notes/c", "notes/deep/one/x", "notes/deep/two/x", "one/a", "two/a"),
    *("w/1/a", "w/1/b", "w/1/c", "w/2/a", "w/2/b", "w/2/c", "w/3/a", "w/3/b", "w/3/c"),
    *(".ssh/id", ".config/app/state", ".config/app/key", ".config/gh/hosts.yml", "loose"),
    *("mixed/.env", "mixed/a", "mixed/b", "mixed/c", "pg/packages/p/dist/x", "pg/pipeguard.db"),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def host_of(home: Path) -> SandboxUser:
    sensitive = sensitive_paths(str(home), (str(home / "pg"),))
    return SandboxUser(str(home), "me", 1, 1, sensitive, str(home / "pg" / "packages"))


def seen(home: Path, **uses: str) -> Observed:
    observed = Observed()
    for use, names in uses.items():
        for name in names.split(" "):
            observed.add_file(str(home / name), {"read": READ, "listed": LISTED}.get(use, WRITTEN))
    return observed


def proposal(home: Path, **uses: str) -> ProfileProposal:
    return propose(seen(home, **uses), Profile(), host_of(home))


def granted(found: ProfileProposal) -> list[tuple[str, str]]:
    return [(grant.kind, grant.value) for grant in found.added]


GRANTED: dict[str, tuple[dict[str, str], list[tuple[str, str]]]] = {
    "two files": ({"read": "notes/a notes/b"}, [("read", "~/notes/a"), ("read", "~/notes/b")]),
    "three files": ({"read": "notes/a notes/b notes/c"}, [("read", "~/notes")]),
    "three folders": (
        {"read": " ".join(f"w/{folder}/{name}" for folder in "123" for name in "abc")},
        [("read", "~/w")],
    ),
    "written, and what is read there": (
        {"written": "notes/new notes/deep/one/x", "read": "notes/a one/a"},
        [("write", "~/notes"), ("read", "~/one/a")],
    ),
    "a file written": ({"written": "notes/a"}, [("write", "~/notes/a")]),
    "three written": ({"written": "notes/a notes/b notes/c"}, [("write", "~/notes")]),
    "one that was renamed": ({"written": "notes/.a.tmp notes/a"}, [("write", "~/notes")]),
    "a folder that it made": (
        {"written": "notes/deep notes/deep/one/x"},
        [("write", "~/notes/deep")],
    ),
    "its own state": (
        {"written": ".config/app/state", "listed": ".config/app"},
        [("keep_home", "true")],
    ),
}


@each("uses, given", GRANTED)
def test_what_is_used_gives_no_more_than_covers_it(
    home: Path, uses: dict[str, str], given: list[tuple[str, str]]
) -> None:
    assert granted(proposal(home, **uses)) == given


WITHHELD: dict[str, tuple[dict[str, str], list[tuple[str, str]], str]] = {
    "the home": (
        {"read": "notes/a notes/b notes/c one/a two/a loose", "listed": "."},
        [("read", f"~/{name}") for name in ("loose", "notes", "one/a", "two/a")],
        "",
    ),
    "a folder with what has to be named": (
        {"read": ".config/app/state .config/gh/hosts.yml .ssh/id", "listed": ".config .ssh"},
        [("read", "~/.config/app/state")],
        "reads ~/.config/gh/hosts.yml, reads ~/.ssh, reads ~/.ssh/id",
    ),
    "what a link leads to": ({"read": "innocent"}, [], "reads ~/.ssh/id"),
    "a new file in the home": ({"written": "loose gone"}, [("write", "~/loose")], "writes ~/gone"),
    "our own files": (
        {"written": "pg/packages/p/dist/x", "read": "pg/pipeguard.db"},
        [],
        "reads ~/pg/pipeguard.db, writes ~/pg/packages/p/dist/x",
    ),
}


@each("uses, given, withheld", WITHHELD)
def test_what_has_to_be_named_is_withheld(
    home: Path, uses: dict[str, str], given: list[tuple[str, str]], withheld: str
) -> None:
    if not (home / "innocent").is_symlink():
        (home / "innocent").symlink_to(home / ".ssh" / "id")
    found = proposal(home, **uses)
    assert granted(found) == given
    assert ", ".join(sorted({each.what for each in found.withheld})) == withheld


def test_what_is_only_read_there_is_given_since_a_new_home_does_not_have_it(home: Path) -> None:
    read = ".config/app/key .config/app/b .config/app/c"
    for name in ("b", "c"):
        (home / ".config" / "app" / name).write_text("")
    found = proposal(home, written=".config/app/state", read=read)
    names = ("b", "c", "key")
    assert granted(found) == [
        ("keep_home", "true"),
        *(("read", f"~/.config/app/{name}") for name in names),
    ]


def test_a_host_that_gives_out_credentials_is_given_by_nobody_but_the_user(home: Path) -> None:
    hosts = ["169.254.169.254", "[2001:db8::1]", "a.example:5432", "metadata.google.internal"]
    found = propose(Observed(hosts=hosts), Profile(), host_of(home))
    assert granted(found) == [("hosts", "[2001:db8::1]"), ("hosts", "a.example:5432")]
    assert [each.subject for each in found.withheld] == [hosts[0], hosts[3]]
    found = propose(Observed(hosts=hosts), Profile(hosts=(hosts[0],)), host_of(home))
    assert [each.subject for each in found.withheld] == [hosts[3]]


def test_what_is_given_already_is_told_from_what_is_not(home: Path) -> None:
    observed = seen(home, read="notes/a one/a", written="w/1/a")
    observed.hosts = ["api.example.com", "other.example"]
    observed.loopback = [5432, 6379]
    profile = Profile(
        read=(str(home / "notes"), str(home / "two")),
        write=(str(home / "w"),),
        hosts=("*.example.com", "unused.example"),
        loopback=(5432, 1),
    )
    found = propose(observed, profile, host_of(home))
    assert granted(found) == [("read", "~/one/a"), ("hosts", "other.example"), ("loopback", "6379")]
    assert {each.value for each in found.present} == {
        "~/w/1/a",
        "~/notes/a",
        "api.example.com",
        "5432",
    }
    assert found.make_entry("x") == {
        "server": "x",
        "read": ["~/one/a"],
        "hosts": ["other.example"],
        "loopback": [6379],
    }


def test_a_name_that_led_into_a_private_network_is_given_as_such(home: Path) -> None:
    private = "packages.example=private"
    for given, kind in (("packages.example", "added"), (private, "present")):
        found = propose(Observed(hosts=[private]), Profile(hosts=(given,)), host_of(home))
        assert [each.value for each in getattr(found, kind)] == [private]


def test_what_was_named_one_by_one_is_not_told_as_withheld(home: Path) -> None:
    observed = seen(home, read=".ssh/id .config/gh/hosts.yml")
    profile = Profile(read=(str(home / ".ssh"),))
    found = propose(observed, profile, host_of(home))
    assert [each.what for each in found.withheld] == ["reads ~/.config/gh/hosts.yml"]


def test_a_name_that_no_policy_has_keeps_nothing_else_from_being_given(home: Path) -> None:
    (home / "notes" / "a\nb").write_text("")
    found = proposal(home, read="notes/a\nb one/a")
    assert granted(found) == [("read", "~/one/a")]
    assert [each.why for each in found.withheld] == ["a policy has no such characters"]
