"""`isolate show` describes exactly what the server can touch. isolation/extent.py."""

from pathlib import Path

import pytest

from pipeguard.config.options import read
from pipeguard.isolation.extent import ITS_OPTIONS, POLICY, Given
from pipeguard.isolation.servers.preview import preview_server
from tests.isolation.sandboxes import make_home
from tests.isolation.test_wrapped import REACHER, Isolated

pytestmark = pytest.mark.real
POLICY_TEXT = "isolate:\n- {server: reacher, write: [~/notes], limits: {files: 500}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a state folder, shared by the server and the command that asks."""
    home = make_home(tmp_path, monkeypatch, "notes")
    monkeypatch.setenv("PIPEGUARD_POLICY", str(tmp_path / "policy.yaml"))
    (tmp_path / "policy.yaml").write_text(POLICY_TEXT)
    return home


@pytest.mark.needs("bubblewrap")
def test_what_is_foretold_is_what_is_given(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--isolate", "bubblewrap", "--read", str(here / "diary"), "--limit", "cpu=9"]
    (here / "diary").write_text("a day")
    options = read([*words, "--", *REACHER, str(here / "notes")])
    assert options is not None
    with Isolated(
        tmp_path, *words, command=(*REACHER, str(here / "notes")), policy=POLICY_TEXT
    ) as run:
        run.ready()
        foretold = preview_server(options, "reacher", "bubblewrap", {}, str(tmp_path)).extent
        assert run.call("read", here / "diary") == "a day"
        assert run.call("write", here / "notes" / "two") == "written"
        assert run.call("read", here / "other") == "FileNotFoundError"
    assert foretold is not None
    assert foretold.write == (Given(str(here / "notes"), POLICY),)
    assert foretold.read[0] == Given(str(here / "diary"), ITS_OPTIONS)
    assert foretold.limits.cpu == 9
    assert foretold.is_offline
