"""The offer of `pipeguard allow` for a wall: exactly that, what it leads to, or a reason."""

import os
from pathlib import Path

import pytest

from pipeguard.config.isolate_key import IsolateEntry
from pipeguard.errors import PolicyError
from pipeguard.isolation.sandbox import this_host
from pipeguard.isolation.view import SandboxUser
from pipeguard.isolation.walls.grants import (
    PORT,
    READ,
    WRITE,
    WallGrant,
    find_wall_grant,
    is_covered,
)
from tests.each import each
from tests.isolation.sandboxes import make_home


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SandboxUser:
    folders = ".ssh other notes/.git/hooks notes/.vscode .config/gcloud .local/bin"
    make_home(tmp_path, monkeypatch, folders, ".ssh/id_rsa other/b.txt .bashrc")
    return this_host()


def offered(rule: str, path: object, host: SandboxUser) -> WallGrant:
    grant = find_wall_grant([{"rule": rule, "path": str(path)}])
    assert grant is not None
    return grant


def test_a_file_is_given_by_itself_and_a_folder_as_such(host: SandboxUser) -> None:
    home = Path(host.home)
    assert offered(READ, home / "other/b.txt", host)[:3] == (
        "read",
        "~/other/b.txt",
        'read "~/other/b.txt"',
    )
    assert offered(READ, home / "other", host).opens == 'read "~/other", and what is in it'
    assert offered(WRITE, home / "other/b.txt", host)[:2] == ("write", "~/other/b.txt")
    assert offered(WRITE, home / "notes/new", host)[:2] == ("write", "~/notes")
    assert not offered(READ, home / "other", host).is_live


REFUSED = {
    "a key": (READ, ".ssh/id_rsa", "named by hand"),
    "the folder of keys": (READ, ".ssh", "named by hand"),
    "a new key": (WRITE, ".ssh/new", "named by hand"),
    "what a shell runs": (WRITE, ".bashrc", "named by hand"),
    "a repository's own folder": (WRITE, "notes/.git/new", "your programs run"),
    "what git runs": (WRITE, "notes/.git/hooks/pre-commit", "your programs run"),
    "what an editor runs": (WRITE, "notes/.vscode", "your programs run"),
    "what a shell runs by name": (WRITE, ".local/bin/new", "your programs run"),
    "by a link": (READ, "other/link/id_rsa", "named by hand"),
    "by a path with dots": (READ, "other/../.ssh/id_rsa", "named by hand"),
    "the home": (WRITE, "new", "given to no server as a whole"),
    "what the home is in": (READ, "..", "given to no server as a whole"),
    "what is not there": (READ, "other/none", "nothing to give"),
    "a folder that is not there": (WRITE, "none/new", "nothing to give"),
    "the system": (WRITE, "/usr/lib/new", "given to no server as a whole"),
    "all": (READ, "/", "given to no server as a whole"),
    "passwords": (READ, "/etc/shadow", "named by hand"),
    "what no policy has": (READ, "other/\u202eb", "not a path that a policy can hold"),
}


@each("case", list(REFUSED))
def test_what_has_to_be_named_is_not_offered(case: str, host: SandboxUser) -> None:
    home = Path(host.home)
    link = home / "other" / "link"
    if not link.is_symlink():
        link.symlink_to(home / ".ssh")
    rule, path, why = REFUSED[case]
    with pytest.raises(PolicyError, match=why):
        offered(rule, home / path, host)


WIDE = {
    "keys in it": (READ, ".config", "~/.config", "gcloud"),
    "the home": (WRITE, "new", "~", ".ssh"),
}


@each("case", list(WIDE))
def test_a_folder_that_holds_keys_is_given_if_that_is_said(case: str, host: SandboxUser) -> None:
    rule, path, value, held = WIDE[case]
    finding = {"rule": rule, "path": f"{host.home}/{path}"}
    with pytest.raises(PolicyError, match="--wide"):
        find_wall_grant([finding])
    grant = find_wall_grant([finding], is_wide=True)
    assert grant is not None
    assert grant.value == value
    assert any(held in each for each in grant.holds)
    for never in ("/", "/usr/lib/new", f"{host.home}/..", f"{host.home}/.ssh/id_rsa"):
        with pytest.raises(PolicyError):
            find_wall_grant([{"rule": WRITE, "path": never}], is_wide=True)


def test_a_folder_covers_what_it_gives_and_no_more(host: SandboxUser) -> None:
    entry = IsolateEntry(read=("~/notes",), write=("~/notes",))
    assert is_covered(entry, WallGrant("read", "~/notes/x/y", ""), host)
    assert not is_covered(entry, WallGrant("write", "~/other/b.txt", ""), host)
    assert not is_covered(entry, WallGrant("write", "~/notes/.vscode/x", ""), host)


def test_what_a_link_leads_to_is_shown_and_given(host: SandboxUser) -> None:
    home = Path(host.home)
    (home / "notes" / "harmless").symlink_to(home / "other")
    grant = offered(READ, home / "notes/harmless/b.txt", host)
    assert grant.value == "~/other/b.txt"
    assert "~/other/b.txt" in grant.opens
    assert "notes/harmless/b.txt leads there" in grant.opens


def test_a_link_that_cannot_be_followed_is_named_by_hand(
    host: SandboxUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> str:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "readlink", refuse)  # as the kernel refuses /proc/PID/root
    link = Path(host.home) / "link"
    link.symlink_to("other")
    with pytest.raises(PolicyError, match=r"cannot be followed \(Permission denied\)"):
        offered(READ, link / "b.txt", host)


def test_a_port_is_given_by_its_number(host: SandboxUser) -> None:
    grant = find_wall_grant([{"rule": PORT, "excerpt": "8765"}])
    assert grant is not None
    assert grant[:2] == ("loopback", 8765)


def test_the_port_of_a_host_may_be_named_where_the_event_has_none(host: SandboxUser) -> None:
    def given(excerpt: str, port: int | None) -> str:
        grant = find_wall_grant([{"rule": "egress.host", "excerpt": excerpt}], port)
        assert grant is not None
        return f"{grant.value}: {grant.opens}"

    name = "registry.example"
    assert given(name, None) == f"{name}: send to {name} at ports 443 and 80"
    assert given(name, 8443) == f"{name}:8443: send to {name}:8443"
    assert given(f"{name}:8443", None) == f"{name}:8443: send to {name}:8443"
    with pytest.raises(PolicyError, match="about port 8443"):
        given(f"{name}:8443", 9000)


@pytest.mark.parametrize("subject", ["169.254.169.254:80", "metadata.google.internal"])
def test_what_gives_out_credentials_is_named_by_hand(host: SandboxUser, subject: str) -> None:
    for rule in ("egress.host", "egress.address"):
        with pytest.raises(PolicyError, match=r"credentials\. It has to be named by hand"):
            find_wall_grant([{"rule": rule, "excerpt": subject}])


def test_an_event_of_another_kind_is_none_of_these(host: SandboxUser) -> None:
    assert find_wall_grant([{"rule": "secrets.aws", "excerpt": "x"}]) is None
    assert find_wall_grant([{"rule": "egress.malformed", "excerpt": ""}]) is None
