"""What the build compiles: used where it fits, and done without where it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook import cache, cache_files, cache_key, compiler, packs
from pipeguard.rulebook.cache import load_engines
from tests.rulebook.words import contents_of, finds, index_of
from tests.rulebook.words import packs as own_packs

DAMAGED = "pipeguard: the compiled rules of this installation are damaged"


@pytest.fixture
def shipped(tmp_path: Path, compiles: list[str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what was shipped: compiled of one short pack."""
    folder = tmp_path / "package/databases"
    for module in (cache, cache_files):
        monkeypatch.setattr(module, "shipped_folder", lambda: str(folder))
    monkeypatch.setattr(compiler, "shipped_sources", own_packs)
    monkeypatch.setattr(cache, "sources", own_packs)
    cache._say_damaged.cache_clear()
    folder.parent.mkdir()
    compiler.compile_shipped(str(folder))
    assert compiles == []
    return folder


def read_all(folder: Path) -> bool:
    """True if the word is found by engines of which every file is read."""
    engines = load_engines(own_packs(), str(folder))
    for engine in engines:
        for patterns in (engine.lookup.plain, engine.lookup.squeezed, engine.lookup.acts):
            patterns.load()
    return finds(engines)


def test_what_is_shipped_is_used_and_nothing_is_written(
    shipped: Path, folder: Path, compiles: list[str]
) -> None:
    assert finds(load_engines(own_packs(), str(folder)))
    assert (compiles, folder.exists()) == ([], False)
    assert cache.is_cached(own_packs())
    cache.write_cache(str(folder))
    assert not list(shipped.glob("lock"))
    assert not folder.exists()
    assert {file.stat().st_mode & 0o777 for file in shipped.iterdir()} == {0o644}


def test_a_later_build_takes_what_an_earlier_one_compiled(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def builds_anew() -> bool:
        before = {file.name: file.stat().st_ino for file in shipped.iterdir()}
        compiler.compile_shipped(str(shipped))
        return before != {file.name: file.stat().st_ino for file in shipped.iterdir()}

    assert not builds_anew()
    flip(contents_of(shipped)[0])
    assert builds_anew()
    assert not builds_anew()
    (shipped / "stranger").touch()
    assert builds_anew()
    monkeypatch.setattr(compiler, "shipped_sources", lambda: own_packs("plugh"))
    assert builds_anew()
    assert len(list(shipped.glob("*.index"))) == 1


def test_what_was_compiled_from_other_rules_is_not_used(
    shipped: Path, folder: Path, compiles: list[str]
) -> None:
    engines = load_engines(own_packs("plugh"), str(folder))
    assert finds(engines, "plugh-123")
    assert not engines.to_server.scan("xyzzy-123", str, Surface.TO_SERVER).matches
    assert compiles == [str(folder)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VERSION", "0.0.0"),
        ("_engine", lambda: ("9.9.9", "Version: 9 Features: AVX512")),
        ("_code", lambda _: b"changed"),
    ],
)
def test_what_another_version_compiled_is_not_used(
    shipped: Path,
    folder: Path,
    compiles: list[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
) -> None:
    monkeypatch.setattr(cache_key, name, value)
    assert finds(load_engines(own_packs(), str(folder)))
    assert compiles == [str(folder)]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, cut])
def test_what_is_damaged_is_compiled_anew_and_said_once(
    shipped: Path,
    folder: Path,
    compiles: list[str],
    capfd: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
) -> None:
    for file in contents_of(shipped):
        damage(file)
    before = {file: file.read_bytes() for file in shipped.iterdir()}
    for _ in range(2):
        assert read_all(folder)
        assert compiles == [str(folder)]
    assert capfd.readouterr().err.count(DAMAGED) == 1
    assert {file: file.read_bytes() for file in shipped.iterdir()} == before


def test_a_file_with_the_right_hash_that_is_no_database_is_compiled_anew(
    shipped: Path,
    folder: Path,
    compiles: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As one of another processor, whose features this one lacks."""
    monkeypatch.setattr(
        "pipeguard.rulebook.cache_files.CacheFile.content",
        lambda file: (
            b"none" if file.is_shipped and file.name != rules_file(shipped) else file.read()
        ),
    )
    for _ in range(2):
        assert read_all(folder)
    assert compiles == [str(folder)]
    assert capfd.readouterr().err.count(DAMAGED) == 1


def rules_file(shipped: Path) -> str:
    (name,) = (file.name for file in contents_of(shipped) if file.read_bytes().startswith(b"["))
    return name


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_an_index_that_is_damaged_is_as_if_nothing_was_shipped(
    shipped: Path, folder: Path, compiles: list[str], damage: Callable[[Path], None]
) -> None:
    damage(index_of(shipped))
    for _ in range(2):
        assert finds(load_engines(own_packs(), str(folder)))
    assert compiles == [str(folder)]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")
@pytest.mark.parametrize("part", [".", "rules-*.index", "*.db"])
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
    done = subprocess.run(
        [sys.executable, "-m", "pipeguard.rulebook.compiler", str(tmp_path / "databases")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "hyperscan" in done.stderr
