"""Where a live key belongs: in the file that it came from, and in one that is made for keys.

A person has an agent put a key into `.env`, and read it from there. In a source file, a page or a
folder that others see, the same key is given away. Knows paths, and no rules.
"""

from __future__ import annotations

import re

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.protocol.json_values import JsonValue
from pipeguard.core.unicode.name_words import name_words
from pipeguard.core.words.arguments import SHARED_FOLDERS
from pipeguard.core.words.tools import PATHS

LONGEST_PATH = 1024  # characters
# `.env.example`, `.env.sample` and their like are committed.
_KEY_FILE = lazy_regex(
    r"\.env(?:\.(?:local|dev|development|test|testing|staging|prod|production|docker)){0,2}"
    r"|\.envrc|\.dev\.vars|\.pgpass|\.netrc|[\w.-]{1,80}\.(?:pem|key)",
    re.IGNORECASE,
)


def written_file(value: JsonValue) -> str:
    """The path of the only file that a call writes, or empty.

    Args:
        value: the message.
    """
    params = value.get("params") if isinstance(value, dict) else None
    arguments = params.get("arguments") if isinstance(params, dict) else None
    if not isinstance(arguments, dict):
        return ""
    paths = [
        item
        for key, item in arguments.items()
        if isinstance(item, str) and not PATHS.isdisjoint(name_words(key))
    ]
    return paths[0] if len(paths) == 1 and len(paths[0]) <= LONGEST_PATH else ""


def is_key_file(path: str) -> bool:
    """True for a file that is made for keys, in no folder that others see."""
    *folders, name = re.split(r"[/\\]", path)
    is_shared = any(not SHARED_FOLDERS.isdisjoint(name_words(folder)) for folder in folders)
    return _KEY_FILE.fullmatch(name) is not None and not is_shared


def is_same_folder(path: str, other: str) -> bool:
    """True for two files of one folder; for a relative path, where it may be."""
    first, second = (_folder(each) for each in (path, other))
    shorter, longer = sorted((first, second), key=len)
    return shorter == longer or (
        not shorter.startswith("/") and f"/{longer}".endswith(f"/{shorter}")
    )


def _folder(path: str) -> str:
    return path.replace("\\", "/").removeprefix("./").rpartition("/")[0]
