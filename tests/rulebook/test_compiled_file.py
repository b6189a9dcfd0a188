"""The files of the cache: their owners, and which of them are removed."""

import os
from pathlib import Path

import pytest

from pipeguard.config.directories import Trusted
from pipeguard.rulebook import compiled_file
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.compiled_file import MOST_FILES, CleanNames, _TrustedFile
from tests.rulebook.words import file_of, finds, packs

posix = pytest.mark.skipif(os.name != "posix", reason="rights of POSIX files")


@pytest.mark.parametrize("seconds", [10, -10_000])
def test_the_oldest_files_go_and_drafts_and_never_the_new_one(
    folder: Path, compiles: list[str], seconds: int
) -> None:
    """Even if the others seem to be from the future."""
    words = [f"word{number}" for number in range(MOST_FILES + 2)]
    for word in words:
        load_engines(packs(word), str(folder))
        (folder / ".rules-abc").touch()
        (folder / "other").touch()
        for file in folder.glob("rules-*"):
            written = file.stat().st_mtime - seconds
            os.utime(file, (written, written))
    load_engines(packs(), str(folder))
    assert len(compiles) == len(words) + 1
    assert finds(load_engines(packs(), str(folder)))
    assert len(compiles) == len(words) + 1
    assert len(list(folder.glob("rules-*"))) == MOST_FILES
    assert {file.name for file in folder.iterdir() if "-" not in file.name} == {"other"}


@posix
def test_files_and_folder_are_ours_alone(folder: Path, compiles: list[str]) -> None:
    before = os.umask(0)
    try:
        load_engines(packs(), str(folder))
    finally:
        os.umask(before)
    assert len(compiles) == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert file_of(folder).stat().st_mode & 0o777 == 0o600


def test_a_file_that_outlives_the_modules_of_its_process_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").touch()
    tmp_path.chmod(0o700)
    file = _TrustedFile(str(tmp_path), "a", Trusted.ONLY_US)
    descriptor = file._descriptor
    monkeypatch.setattr(compiled_file, "os", None)  # as the interpreter does when it shuts down
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


NAMES = [bytes([number]) * 32 for number in range(3)]


def written_names(folder: Path, *names: bytes, key: bytes = b"k" * 32) -> CleanNames:
    """The names of clean texts, after a run that found these clean."""
    run = CleanNames(str(folder), key)
    for name in names:
        run.add(name)
    run.save()
    return CleanNames(str(folder), key)


def test_clean_names_of_all_runs_with_the_same_rules_are_there(folder: Path) -> None:
    before = CleanNames(str(folder), b"k" * 32)
    assert not before
    assert NAMES[0] not in before
    written_names(folder, NAMES[0])
    (draft := folder / ".clean-draft").touch()
    later = written_names(folder, NAMES[1], NAMES[1])
    assert draft.exists(), "another process may be writing it"
    assert later
    assert not later.new
    assert [name in later for name in NAMES] == [True, True, False]
    assert not CleanNames(str(folder), b"l" * 32)
    assert (folder / later._file_name).stat().st_size < 200


def test_clean_names_without_a_key_are_forgotten(folder: Path) -> None:
    assert not written_names(folder, *NAMES, key=b"")
    assert not folder.exists()


@posix
def test_clean_names_that_others_could_have_written_are_none(folder: Path) -> None:
    file = folder / written_names(folder, *NAMES)._file_name
    file.chmod(0o622)
    assert not CleanNames(str(folder), b"k" * 32)
    assert NAMES[0] in written_names(folder, NAMES[0])
    for damaged in (b"", b"other", file.read_bytes()[:-5], file.read_bytes() + b"x"):
        file.write_bytes(damaged)
        assert NAMES[0] not in CleanNames(str(folder), b"k" * 32)


def test_clean_names_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_file, "MOST_NAMES", 2)
    later = written_names(folder, *NAMES)
    assert [name in later for name in NAMES] == [True, True, False]
    latest = written_names(folder, NAMES[2])
    assert [name in latest for name in NAMES] == [False, True, True]
    for key in range(MOST_FILES + 2):
        written_names(folder, NAMES[0], key=bytes([key]) * 32)
    assert len(list(folder.glob("clean-*"))) == MOST_FILES
