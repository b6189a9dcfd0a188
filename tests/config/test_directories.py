"""Checks that our files are trusted only if nobody else could have written them."""

import os
import stat
from collections import Counter
from pathlib import Path

import pytest

from pipeguard.config.directories import Trusted, closing_command, other_writer, read_own
from pipeguard.errors import RuleError
from tests.files import write_file
from tests.people import share

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")


def status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


def test_a_group_counts_for_others_where_others_belong_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import grp
    import pwd

    users = pwd.getpwall()
    primary = Counter(user.pw_gid for user in users)
    groups = {group.gr_gid: set(group.gr_mem) for group in grp.getgrall()}
    alone = next(u for u in users if primary[u.pw_gid] == 1 and groups[u.pw_gid] <= {u.pw_name})
    elsewhere = next(gid for gid in groups if gid != alone.pw_gid)
    monkeypatch.setattr(os, "geteuid", lambda: alone.pw_uid)
    own = status(0o664, alone.pw_uid, alone.pw_gid)
    shared = status(0o664, alone.pw_uid, elsewhere)
    assert other_writer(own) == ""
    assert other_writer(shared) == "its group"
    assert other_writer(own, Trusted.ONLY_US) == "its group"
    assert other_writer(shared, Trusted.ANY_GROUP) == ""
    assert other_writer(status(0o644, alone.pw_uid, elsewhere), Trusted.ONLY_US) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    assert other_writer(status(0o664, 2**31 - 7, 2**31 - 7)) == "its group"  # no such user


@pytest.mark.parametrize("trusted", Trusted)
def test_another_user_and_everybody_are_never_trusted(
    monkeypatch: pytest.MonkeyPatch, trusted: Trusted
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    owner = 0 if trusted is Trusted.ADMINISTRATOR else 1234
    assert other_writer(status(0o600, 1235, 1235), trusted) == "another user (uid 1235)"
    assert other_writer(status(0o602, owner, owner), trusted) == "everybody"
    assert other_writer(status(0o600, owner, owner), trusted) == ""
    assert (other_writer(status(0o600, 1234, 1234), trusted) == "") is (owner == 1234)
    by_root = other_writer(status(0o644, 0, 0), trusted)
    assert by_root == ("another user (uid 0)" if trusted is Trusted.ONLY_US else "")


def test_the_command_lets_nobody_else_write_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    taken, closed = "sudo chown -R 1234 'a file'", "chmod go-w 'a file'"
    assert closing_command("a file", status(0o600, 1235, 1235)) == taken
    assert closing_command("a file", status(0o602, 1234, 1234)) == closed
    assert closing_command("a file", status(0o602, 0, 0)) == closed
    assert closing_command("a file", status(0o600, 0, 0), Trusted.ONLY_US) == taken
    administered = closing_command("a file", status(0o600, 1234, 0), Trusted.ADMINISTRATOR)
    assert administered == "sudo chown -R 0 'a file'"


def test_files_beside_our_code_may_be_open_to_its_group(tmp_path: Path) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text("rules: []")
    share(path)
    path.chmod(0o664)
    with pytest.raises(RuleError, match="its group may write"):
        read_own(str(path), 100, RuleError)
    assert read_own(str(path), 100, RuleError, trusted=Trusted.ANY_GROUP) == b"rules: []"
    path.chmod(0o666)
    with pytest.raises(RuleError, match="everybody may write"):
        read_own(str(path), 100, RuleError, trusted=Trusted.ANY_GROUP)


@pytest.mark.parametrize(("mode", "may_replace"), [(0o777, True), (0o1777, False), (0o755, False)])
def test_a_file_that_another_user_could_replace_is_not_used(
    tmp_path: Path, mode: int, may_replace: bool
) -> None:
    path = write_file(tmp_path / "rules" / "pack.yaml", "rules: []")
    path.chmod(0o600)
    path.parent.chmod(mode)
    if may_replace:
        with pytest.raises(RuleError, match=r"everybody may write to .*/rules, so"):
            read_own(str(path), 100, RuleError)
    else:
        assert read_own(str(path), 100, RuleError) == b"rules: []"
