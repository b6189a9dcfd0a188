"""Files that a server makes in a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.isolation.test_walls import FAILING, call, texts
from tests.isolation.test_wrapped import Isolated

pytestmark = pytest.mark.needs("bubblewrap")


def test_what_is_made_below_a_home_of_its_own_is_gone(tmp_path: Path) -> None:
    """As the documentation says of it, also where the server starts in the home."""
    home = tmp_path / "home"
    with Isolated(tmp_path, "--isolate", "auto", "--cwd", "home", command=FAILING) as run:
        run.ready()
        for path in (home / "report", Path("report.txt")):
            assert texts(call(run, "make_report", path)) == ["made"]
    assert sorted(each.name for each in home.iterdir()) == ["diary", "notes"]
