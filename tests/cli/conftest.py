"""A home folder for each test."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeguard.clients import readiness
from pipeguard.config.directories import cache_folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home, settings and a state folder of the test's own, and no policy."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("PIPEGUARD_POLICY", raising=False)
    # `setup` compiles the rules for a client that passes only HOME (tests/clients/test_readiness).
    monkeypatch.setattr(readiness, "directories", SimpleNamespace(usual_cache_folder=cache_folder))
