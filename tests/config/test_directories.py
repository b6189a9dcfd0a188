"""Holds that a file of ours is believed where nobody else could have written it."""

import os
import stat
from collections import Counter
from pathlib import Path

import pytest

from pipeguard.config.directories import read_own, writers
from pipeguard.errors import RuleError
from tests.people import share

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")


def status(mode: int, uid: int, gid: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))


def test_a_group_counts_for_others_where_others_belong_to_it() -> None:
    import grp
    import pwd

    users = pwd.getpwall()
    primary = Counter(user.pw_gid for user in users)
    groups = {group.gr_gid: set(group.gr_mem) for group in grp.getgrall()}
    alone = next(u for u in users if primary[u.pw_gid] == 1 and groups[u.pw_gid] <= {u.pw_name})
    elsewhere = next(gid for gid in groups if gid != alone.pw_gid)
    assert writers(status(0o664, alone.pw_uid, alone.pw_gid)) == ""
    assert writers(status(0o666, alone.pw_uid, alone.pw_gid)) == "everybody"
    assert writers(status(0o664, alone.pw_uid, elsewhere)) == "its group"
    assert writers(status(0o644, alone.pw_uid, elsewhere)) == ""
    assert writers(status(0o664, 2**31 - 7, 2**31 - 7)) == "its group"  # who knows who that is


def test_what_lies_beside_our_code_may_be_open_to_the_group_that_the_code_is_open_to(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text("rules: []")
    share(path)
    path.chmod(0o664)
    with pytest.raises(RuleError, match="its group may write"):
        read_own(str(path), 100, RuleError)
    assert read_own(str(path), 100, RuleError, trusts_group=True) == b"rules: []"
    path.chmod(0o666)
    with pytest.raises(RuleError, match="everybody may write"):
        read_own(str(path), 100, RuleError, trusts_group=True)
