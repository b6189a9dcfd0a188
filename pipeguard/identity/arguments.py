"""The words of a command that tell one server from another: no versions, numbers or keys.

Knows the forms of words, not their meaning to a program. Reads no file.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH100, PTH111, PTH118
from __future__ import annotations

import os.path
import re

from pipeguard.core.words.credentials import LAST_WORDS
from pipeguard.identity import launchers
from pipeguard.identity.url_names import identity_of_url, is_url

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Sequence

# Expressions as texts: most commands need none of them, and compiling all takes 4 ms.
_VERSION = r"(?<![A-Za-z0-9])v?\d+(?:\.\d+)+(?:[-+.]?(?:rc|alpha|beta|dev|post)[\w.]*)?"
# What looks random is a key, which changes when it is renewed.
_KEY = r"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[\w+=-]{20,}|[0-9a-f]{32,}"
_NAME_OF_A_KEY = rf"(?i)(?:{'|'.join(LAST_WORDS)})\Z"


def distinguishing_words(
    rest: Sequence[str], folder: str, *, with_folders: bool = True
) -> list[str]:
    """The arguments that may say which server is meant: all but settings, numbers and keys.

    Args:
        rest: a program's arguments.
        folder: the folder that it starts in.
        with_folders: False for a program that has a path of its own, since it is the same server
            whatever folders it works on.
    """
    distinguishing: list[str] = []
    is_skipped = False
    for word, behind in zip(rest, [*rest[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        option = name.lstrip("-") if word.startswith("-") and not equals else ""
        if is_skipped:
            is_skipped = False
        elif re.search(_NAME_OF_A_KEY, name):
            is_skipped = bool(option) and not behind.startswith("-")
        elif option in launchers.SETTINGS or (option == "p" and behind.isdigit()):
            is_skipped = True
        elif launchers.SAY_LITTLE.isdisjoint((word, option)):
            text = _normalized(value if equals else word, folder)
            distinguishing.append(f"{name}={text}" if equals else text)
            if not with_folders and _is_folder(value if equals else word):
                distinguishing[-1] = name if equals else ""
    return [word for word in distinguishing if word]


def _normalized(word: str, folder: str) -> str:
    """A word without keys and versions, with `#` for a number at its end, and paths absolute."""
    if is_url(word):
        return identity_of_url(word)
    if re.fullmatch(_KEY, word):
        return ""
    if word.startswith((".", "~")) or is_file(word) or ending(word) in launchers.SCRIPT_ENDINGS:
        word = absolute(word, folder)
    return unversioned(re.sub(r"(?<![^:])\d+\Z", "#", word))


def _is_folder(word: str) -> bool:
    return word.startswith((".", "/", "~")) and not is_file(word)


def is_file(word: str) -> bool:
    """Whether a word is the path of a file, judging by its form."""
    return "/" in word and not is_url(word) and re.search(r"[^/]\.\w{1,6}\Z", word) is not None


def absolute(word: str, folder: str) -> str:
    """An absolute path; a Windows path stays as it is, with slashes."""
    path = word.replace("\\", "/")
    if path[1:2] == ":":
        return path
    return os.path.abspath(os.path.join(folder, os.path.expanduser(word)))


def unversioned(path: str) -> str:
    """A path without the versions in it: `ext-1.2.3` is the same as `ext-1.3.0`."""
    return re.sub(_VERSION, "*", path)


def base(word: str) -> str:
    """The last part of a path."""
    return word.replace("\\", "/").rsplit("/", 1)[-1]


def ending(word: str) -> str:
    """The text after the last dot, in lower case."""
    return base(word).rpartition(".")[2].lower()
