"""What the names of files say of them: tests, or samples of attacks, or nothing.

Whoever writes a file chooses its name too, so that a name never makes a text harmless by itself:
detect.model.data_literals says what it is worth. Knows names, and no text.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from pipeguard.detect.words.file_names import ATTACKS, READ_AS_TEXT, TEST_FILES, TEST_FOLDERS
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.name_words import words_of_any_script

_HOME = lazy_regex(
    r"/(?:home|Users)/[^/]*/?|/(?:root|tmp|srv|opt|var|mnt)/|[A-Za-z]:/Users/[^/]*/?"
)


class FileKind(IntEnum):
    """What a file is, by its name."""

    OTHER = 0
    TESTS = 1
    ATTACKS = 2


def file_kind(paths: Iterable[str]) -> FileKind:
    """What some files are: the least of all that are named. Folders count if no file is named."""
    kinds = {path: _kind(path) for path in paths}
    files = [kind for path, kind in kinds.items() if "." in path.rpartition("/")[2]]
    return min(files or kinds.values(), default=FileKind.OTHER)


def _kind(path: str) -> FileKind:
    path = path.replace("\\", "/")
    *folders, name = _HOME.sub("", path, count=1).split("/")
    stem, *suffixes = name.split(".")
    if suffixes and suffixes[-1].lower() in READ_AS_TEXT:
        return FileKind.OTHER
    if not suffixes:
        folders.append(name)
    words = words_of_any_script(stem)
    if not ATTACKS.isdisjoint(words_of_any_script(" ".join([stem, *folders]))):
        return FileKind.ATTACKS
    ends = {*words[:1], *words[-1:], *suffixes} & TEST_FILES
    is_of_tests = not TEST_FOLDERS.isdisjoint(folder.lower() for folder in folders)
    return FileKind.TESTS if ends or is_of_tests else FileKind.OTHER
