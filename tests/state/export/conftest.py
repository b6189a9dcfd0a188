"""A state folder for each test; exports in this process add no row about the posture."""

from pathlib import Path

import pytest

from pipeguard.assess.posture import PostureWatch


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(PostureWatch, "look", lambda _: None)
