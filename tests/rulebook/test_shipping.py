"""Databases that the build compiles: used if they fit, and optional."""

import os
import sys
from pathlib import Path

import pytest

from pipeguard.errors import EngineError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook import cache, compiled_file, compiler, packs
from pipeguard.rulebook.cache import load_engines
from tests.commands import run_command
from tests.rulebook.words import file_of, finds
from tests.rulebook.words import packs as own_packs


@pytest.fixture
def shipped(tmp_path: Path, compiles: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of shipped databases, compiled from one short pack."""
    folder = tmp_path / "package/databases"
    for module in (cache, compiled_file):
        monkeypatch.setattr(module, "shipped_folder", lambda: str(folder))
    monkeypatch.setattr(compiler, "shipped_sources", own_packs)
    monkeypatch.setattr(cache, "sources", own_packs)
    folder.parent.mkdir()
    compiler.compile_shipped(str(folder))
    assert compiles == []
    return folder


def test_what_is_shipped_is_used_and_no_rules_are_written(
    shipped: Path, folder: Path, compiles: list[str]
) -> None:
    assert finds(load_engines(own_packs(), str(folder)))
    assert (compiles, [*folder.glob("rules-*")]) == ([], [])
    assert {file.stat().st_mode & 0o777 for file in shipped.iterdir()} == {0o644}


def test_a_later_build_takes_what_an_earlier_one_compiled(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "compile_group", None)
    (shipped / "stranger").touch()
    compiler.compile_shipped(str(shipped))
    assert [*shipped.iterdir()] == [file_of(shipped)]


def test_what_was_compiled_from_other_rules_is_not_used(
    shipped: Path, folder: Path, compiles: list[str]
) -> None:
    engines = load_engines(own_packs("plugh"), str(folder))
    assert finds(engines, "plugh-123")
    assert not engines.to_server.scan("xyzzy-123", str, Surface.TO_SERVER).matches
    assert compiles == [str(folder)]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_what_is_damaged_stops_everything_and_stays(
    shipped: Path, folder: Path, compiles: list[str]
) -> None:
    flip(file_of(shipped))
    before = file_of(shipped).read_bytes()
    for _ in range(2):
        with pytest.raises(EngineError, match="damaged"):
            finds(load_engines(own_packs(), str(folder)))
    assert (compiles, file_of(shipped).read_bytes()) == ([], before)


def test_a_damaged_head_is_as_if_nothing_was_shipped(
    shipped: Path, folder: Path, compiles: list[str]
) -> None:
    file_of(shipped).write_bytes(b"none")
    for _ in range(2):
        assert finds(load_engines(own_packs(), str(folder)))
    assert compiles == [str(folder)]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")
@pytest.mark.parametrize("part", [".", "rules-*"])
def test_what_everybody_may_write_is_not_used(
    shipped: Path, folder: Path, compiles: list[str], part: str
) -> None:
    for path in [shipped] if part == "." else list(shipped.glob(part)):
        path.chmod(0o777)
    assert finds(load_engines(own_packs(), str(folder)))
    assert compiles == [str(folder)]


def test_the_users_own_packs_are_not_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "user_folder", lambda: str(Path(__file__).parent))
    assert all(pack.shipped for pack in packs.shipped_sources())


def test_without_a_scan_engine_the_program_says_so(tmp_path: Path) -> None:
    (tmp_path / "hyperscan.py").write_text("raise ImportError")
    done = run_command(
        [sys.executable, "-m", "pipeguard.rulebook.compiler", str(tmp_path / "databases")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode
    assert "hyperscan" in done.stderr
