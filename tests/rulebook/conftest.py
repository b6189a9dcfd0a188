"""What tests of the cache share: a folder, and a count of how often rules are compiled."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeguard.detect.scanning import engine
from pipeguard.rulebook import compilation
from pipeguard.rulebook.compiler import compile_rules
from pipeguard.rulebook.packs import PackFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the cache; it does not exist."""
    return tmp_path / "cache"


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were compiled into, in this process, as where no program can be started."""
    folders: list[str] = []

    def counting(packs: Sequence[PackFile], folder: str, key: bytes) -> bytes:
        folders.append(folder)
        return compile_rules(packs, folder, key)

    monkeypatch.setattr(compilation, "compile_rules", counting)
    for signs in (
        "SIGNS",
        "SIGNS_TO_SERVER",
        "SQUEEZED_SIGNS",
    ):  # they take most of the time, and say nothing here
        simple = {name: f"no sign {name}" for name in getattr(engine, signs)}
        monkeypatch.setattr(engine, signs, simple)
    monkeypatch.setattr(sys, "executable", "")
    return folders
