"""Fixtures of the clients' tests: a failed server is tried again at once."""

import pytest

from pipeguard.transports import tasks


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(tasks, "MOST_PAUSE_SECONDS", 0.01)
