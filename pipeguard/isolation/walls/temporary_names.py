"""What a person would give in place of a file with a name that a program made up for a while.

Pure, and by the name alone: what a model reads may not depend on what there is.
"""

# ruff: noqa: PTH119, PTH120
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import re
from os.path import basename, dirname

from pipeguard.core.lazy_regex import lazy_regex

# Files that are written beside another one and renamed to it, or removed: such a name is another
# one the next time, and who may write one has to be able to write in its folder.
_TEMPORARY = lazy_regex(
    r"""
    tmp[a-z0-9_]{8}(?:\..+)?                            # tempfile of Python
    | \.tmp[a-z0-9]{6}                                  # tempfile of Rust
    | .+\.(?:tmp|temp|part|partial|crdownload|sw[opx])  # whole once it is renamed; vim
    | .+\.[0-9]{9,10}                                   # write-file-atomic of npm; os.CreateTemp
    | .+~ | \.?\#.+                                     # editors
    | .+-(?:journal|wal|shm)                            # SQLite
    | .*[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}.*   # a UUID (RFC 9562)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def lasting_path(path: str) -> str:
    """The folder of a file whose name is made up, in all but the root; any other path as it is."""
    folder = dirname(path)
    return folder if len(folder) > 1 and is_temporary(path) else path


def is_temporary(path: str) -> bool:
    """Whether a program made up a file's name for a while."""
    return _TEMPORARY.fullmatch(basename(path)) is not None
