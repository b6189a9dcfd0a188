"""The key of compiled rules: a hash of everything that a compiled database depends on.

Making it reads 2.4 MB and imports Hyperscan. So the cache has it, for the sizes and times of the
files that it was made from:

::

    key-STATE.hash       the key, named by a hash of that state
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from hashlib import blake2b
from importlib.util import find_spec
from itertools import chain
from time import time
from typing import TYPE_CHECKING

from pipeguard.rulebook.compiled_file import HASH_BYTES, put, read_trusted
from pipeguard.rulebook.packs import PACKAGE
from pipeguard.version import VERSION

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterable, Iterator, Sequence

    from pipeguard.detect.matching.pattern_set import PatternGroup
    from pipeguard.rulebook.packs import PackFile

_ROOMS = "rulebook", "unicode", "firewall", "detect"
SETTLED_SECONDS = 2.0  # after which another change of a file has another time


def find_key(packs: Sequence[PackFile], folder: str) -> tuple[bytes, bytes]:
    """Find the key of packs: in the cache, in 2 ms, unless a file that it depends on has changed.

    Args:
        packs: the packs' files.
        folder: of the cache.

    Returns:
        The key, and a hash of the state of all that reads texts.
    """
    files = sorted(_list_states())
    processor = _processor()
    words = VERSION, sys.version, processor, repr(files)
    state = _hash(HASH_BYTES, words, (pack.content for pack in packs)).digest()
    name = f"key-{state.hex()}.hash"
    key = read_trusted(folder, name, HASH_BYTES)
    if len(key) == HASH_BYTES and processor:
        return key, state
    key = cache_key(packs)
    if time() - max((changed for changed, *_ in files), default=0) > SETTLED_SECONDS:
        with suppress(OSError):
            put(folder, name, key)
    return key, state


def _list_states() -> Iterator[tuple[float, str, int, int]]:
    """The state of each file but the packs: two times, of which no program can set the first."""
    places = [os.path.join(PACKAGE, room) for room in _ROOMS]
    for spec in filter(None, map(find_spec, ("hyperscan", "re2"))):
        places += spec.submodule_search_locations or ()
    for path in chain.from_iterable(map(_list_files, places)):
        with suppress(OSError):  # a link to nowhere, such as an editor's lock
            status = os.stat(path)
            yield status.st_ctime, path, status.st_size, status.st_mtime_ns


def _processor() -> str:
    """The features of the processor; empty where no file has them, so that they are asked for."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="latin-1") as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "")
    return ""


def cache_key(packs: Sequence[PackFile]) -> bytes:
    """Hash the packs, the code that compiles them, the engine and the kind of machine.

    The expressions themselves are not hashed: making them takes 90 ms, which the cache is there to
    save, and this takes 3. A rule becomes expressions in much of the core, so all of it is hashed.
    The files of classifiers are covered by their hashes in the rules. Python's version has no part
    in it: expressions are made of the packs' own characters, by no table of Python's.
    """
    modules = modules_of_compiling()
    code = (part for name in modules for part in (name.encode(), _code(name)))
    return _hash(
        HASH_BYTES, (VERSION, *_machine()), code, (pack.content for pack in packs)
    ).digest()


def database_key(group: PatternGroup) -> str:
    """Hash everything that one database depends on, in hexadecimal, as its name.

    An edit of a rule, or of our code, changes few databases: the others are found by their keys.
    """
    code = _code(os.path.join("detect", "matching", "pattern_set.py"))
    return _hash(16, (*_machine(), repr(group)), (code,)).hexdigest()


def modules_of_compiling() -> list[str]:
    """The modules and word tables that could change findings, as paths in the package."""
    paths = (path for room in _ROOMS for path in _list_files(os.path.join(PACKAGE, room)))
    # Empty in an archive, where the version covers them.
    return [os.path.relpath(path, PACKAGE) for path in paths if path.endswith((".py", ".txt"))]


def _list_files(top: str) -> Iterator[str]:
    """The files below a folder, in order, without bytecode."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            yield os.path.join(folder, name)


def _hash(size: int, words: Iterable[str], *contents: Iterable[bytes]) -> hashlib.blake2b:
    key = blake2b(digest_size=size)  # three times as fast as SHA-256 without OpenSSL
    for content in chain((word.encode() for word in words), *contents):
        key.update(len(content).to_bytes(8, "big") + content)
    return key


def _code(name: str) -> bytes:
    """The text of a module: in a repository it changes without the version."""
    try:
        with open(os.path.join(PACKAGE, name), "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return b""


def _machine() -> tuple[str, ...]:
    """The kind of machine, the scan engine's version, and the processor features that it uses."""
    machine = os.uname().machine if hasattr(os, "uname") else ""
    return sys.platform, machine, sys.byteorder, *_engine()


def _engine() -> tuple[str, str]:
    """The version of the binding, and Hyperscan's, with the processor features that it uses."""
    try:
        import hyperscan
    except ImportError:
        return "", ""  # reported by whoever compiles or loads a database
    probe = hyperscan.Database()
    probe.compile(expressions=[b"a"], ids=[0], flags=[0])
    return getattr(hyperscan, "__version__", ""), str(probe.info())
