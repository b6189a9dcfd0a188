"""What the tests of replicas begin with."""

from base64 import b64encode
from pathlib import Path

import pytest

from pipeguard.state.replica import REPLICA


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one key, which the environment names."""
    path = tmp_path / "keys"
    path.touch(0o600)
    path.write_bytes(b64encode(bytes(32)))
    monkeypatch.setenv("PIPEGUARD_SECRET_FILE", str(path))
    return path


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process be no replica yet, with a state folder of its own."""
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(REPLICA, "link", None)
