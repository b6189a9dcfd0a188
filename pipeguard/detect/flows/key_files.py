"""The place of a live key: in its source file, and in a file that is made for keys.

A person has an agent put a key into `.env`, and read it from there. In a source file, a page or a
folder that others see, the same key is disclosed. Knows paths, and no rules.
"""

import re
from functools import lru_cache
from itertools import islice, pairwise

from pipeguard.detect.words import arguments, tools
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path, walk_strings
from pipeguard.firewall.protocol.places import ARGUMENTS, get_value
from pipeguard.unicode.name_words import name_words

LONGEST_PATH = 1024  # characters; a longer one hides its target
LONGEST_NAME = 128  # of an argument
MOST_STRINGS = 256  # of a call that are looked through for paths
UNREAD = "//unread"  # in place of unsearched strings: as if on another machine
_PATHS = tools.PATHS | {f"{word}s" for word in tools.PATHS}
# `\\host\share`, `//host/share`, `smb://host`; `\\?\C:` is on this machine.
_ELSEWHERE = lazy_regex(
    r"[\\/]{2}[\w-]|(?!file:)[A-Za-z][\w+.-]{1,15}://|file://(?!/|localhost/)[^/]"
)
# Files that are made for keys; `.env.example`, `.env.sample` and their like are committed.
_KEY_FILE = lazy_regex(
    r"(?i)\.env(?:\.(?:local|dev|development|test|testing|staging|prod|production|docker)){0,2}|\.envrc"
    r"|\.dev\.vars|\.pgpass|\.netrc|[\w.-]{1,80}\.(?:pem|key)",
)


def written_files(value: JsonValue) -> tuple[str, ...]:
    """The paths that a call names, at any depth: it may write any of them.

    Args:
        value: the message. Of a call with very many strings, `UNREAD` is one of its paths.
    """
    strings = walk_strings(get_value(value, ARGUMENTS))
    paths = [text for path, text in islice(strings, MOST_STRINGS) if _is_path(path)]
    return *paths, *(UNREAD for _ in islice(strings, 1))


def is_key_file(path: str) -> bool:
    """True for a file meant for keys, unless it is in a folder that others see."""
    if is_seen_by_others(path):
        return False
    *folders, name = re.split(r"[/\\]", path)
    is_shared = any(not arguments.SHARED_FOLDERS.isdisjoint(_words(folder)) for folder in folders)
    return _KEY_FILE.fullmatch(name) is not None and not is_shared


def is_seen_by_others(path: str) -> bool:
    """True for a file in a folder that is served or copied, or on another machine."""
    if len(path) > LONGEST_PATH or _ELSEWHERE.match(path):
        return True
    folders = re.split(r"[/\\]", path)[:-1]
    return any(not arguments.SEEN_FOLDERS.isdisjoint(_words(folder)) for folder in folders)


def is_same_folder(path: str, other: str) -> bool:
    """True for two files of one folder; if a path is relative, True if they may be."""
    first, second = (_folder(each) for each in (path, other))
    shorter, longer = sorted((first, second), key=len)
    return shorter == longer or (
        not shorter.startswith("/") and f"/{longer}".endswith(f"/{shorter}")
    )


def _folder(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").rpartition("/")[0]


def _words(folder: str) -> set[str]:
    """The words of a folder's name, and each adjacent pair as one: `Google Drive`, `OneDrive`."""
    words = name_words(folder)
    return {*words, *map("".join, pairwise(words)), "_".join(words)}


def _is_path(path: Path) -> bool:
    """True for a string in an argument for a path, or for a list of them."""
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    return len(name) <= LONGEST_NAME and _asks_for_path(name)


@lru_cache(256)  # each key in a call asks for all of its names
def _asks_for_path(name: str) -> bool:
    return not _PATHS.isdisjoint(name_words(name))
