"""Fixtures of the gateway's tests."""

from pathlib import Path

import pytest

from pipeguard.gateway import life


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep pins and audit of a gateway in this process in a folder of the test."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(life, "FIRST_DELAY_SECONDS", 0.01)  # before what fell is started again
