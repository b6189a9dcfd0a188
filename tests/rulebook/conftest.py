"""Fixtures of the cache's tests: a folder, and a count of compilations."""

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
    """The cache's folder, which does not exist."""
    return tmp_path / "cache"


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the folders of compilations, in this process, as if no program could start."""
    folders: list[str] = []

    def counting(packs: Sequence[PackFile], folder: str, key: bytes) -> bytes:
        folders.append(folder)
        return compile_rules(packs, folder, key)

    monkeypatch.setattr(compilation, "compile_rules", counting)
    # They take most of the time, and say nothing here.
    for signs in ("SIGNS", "SIGNS_TO_SERVER", "SQUEEZED_SIGNS"):
        simple = {name: f"[~][!] no sign {name}" for name in getattr(engine, signs)}
        monkeypatch.setattr(engine, signs, simple)
    monkeypatch.setattr(sys, "executable", "")
    return folders
