"""The trial of podman, and the message if it does not work. container.py."""

from pathlib import Path

import pytest

from pipeguard.errors import LaunchError
from pipeguard.isolation import container
from pipeguard.isolation.container import FOUND, find_engine
from pipeguard.isolation.sandbox import this_host
from tests.isolation.containers import engine_here


def test_without_podman_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "find_podman", lambda: None)
    with pytest.raises(LaunchError, match="podman is not installed"):
        find_engine(this_host(), str(tmp_path))


def test_what_was_found_is_kept_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_here(tmp_path)
    found = tmp_path / FOUND
    kept = found.read_text()
    monkeypatch.setattr(container, "_trial", lambda *_: "tried again")
    assert find_engine(this_host(), str(tmp_path)) == engine
    for other in (f"another {kept}", "", "{}", kept.replace("\n", " "), f"{kept}x", f"{kept}\n9"):
        found.write_text(other)
        with pytest.raises(LaunchError, match="tried again"):
            find_engine(this_host(), str(tmp_path))
        assert not found.exists()
