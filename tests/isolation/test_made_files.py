"""Files that a server makes in a home of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.isolation.test_walls import FAILING, call, texts
from tests.isolation.test_wrapped import Isolated
from tests.wrap.deciding import decide

pytestmark = pytest.mark.needs("bubblewrap")


def test_what_is_made_below_a_home_of_its_own_is_gone_and_told(tmp_path: Path) -> None:
    """As the documentation says of it, also where the server starts in the home.

    What is in `/tmp`, or in what it is given is not lost.
    """
    home = tmp_path / "home"
    options = ("--isolate", "auto", "--cwd", "home", "--write", str(home / "notes"))
    with Isolated(tmp_path, *options, command=FAILING) as run:
        run.ready()
        kept = (Path("/tmp/scratch"), home / "notes" / "two")
        for path in (home / "report", Path("report.txt"), *kept):
            assert texts(call(run, "make_report", path)) == ["made"]
        run.hang_up()
        assert run.code() == 0
        assert sorted(each.name for each in home.iterdir()) == ["diary", "notes"]
        assert "lost when the server ended" in run.said()
    code, shown = decide(tmp_path / "state", "audit", "list", "--json")
    found = {each["path"]: row["event"] for row in json.loads(shown) for each in row["findings"]}
    assert code == 0
    assert set(found) == {str(home / "report"), str(home / "report.txt")}
    event = found[str(home / "report")]
    code, shown = decide(tmp_path / "state", "explain", event)
    assert "A file that it wrote was lost when it ended." in shown
    assert "Wanted   to keep" in shown
    assert f"pipeguard allow {event}" in shown
    code, shown = decide(tmp_path / "state", "status")
    assert "(lost when its server ended: 2)" in shown  # and nothing was stopped
