"""The key of compiled rules: a hash of everything that a compiled database depends on."""

from __future__ import annotations

import os
import sys
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

from pipeguard.rulebook.packs import PACKAGE
from pipeguard.version import VERSION

if TYPE_CHECKING:
    import hashlib
    from collections.abc import Iterable, Sequence

    from pipeguard.detect.matching.pattern_set import PatternGroup
    from pipeguard.rulebook.packs import PackFile

_RULEBOOK_MODULES = "packs.py", "compiler.py", "compiled_file.py"


def cache_key(packs: Sequence[PackFile]) -> bytes:
    """Hash the packs, the code that compiles them, the engine and the kind of machine.

    The expressions themselves are not hashed: making them takes 90 ms, which the cache is there to
    save, and this takes 3. A rule becomes expressions in much of the core, so all of it is hashed.
    The files of classifiers are covered by their hashes in the rules. Python's version has no part
    in it: expressions are made of the packs' own characters, by no table of Python's.
    """
    modules = modules_of_compiling()
    code = (part for name in modules for part in (name.encode(), _code(name)))
    return _hash(32, (VERSION, *_machine()), code, (pack.content for pack in packs)).digest()


def database_key(group: PatternGroup) -> str:
    """Hash everything that one database depends on, in hexadecimal, as its name.

    An edit of a rule, or of our code, changes few databases: the others are found by their keys.
    """
    code = _code(os.path.join("detect", "matching", "pattern_set.py"))
    return _hash(16, (*_machine(), repr(group)), (code,)).hexdigest()


def modules_of_compiling() -> list[str]:
    """The modules and word tables that could change findings, as paths in the package."""
    modules = [os.path.join("rulebook", name) for name in _RULEBOOK_MODULES]
    for room in ("unicode", "firewall", "detect"):
        for folder, folders, files in os.walk(os.path.join(PACKAGE, room)):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            path = os.path.relpath(folder, PACKAGE)
            names = sorted(name for name in files if name.endswith((".py", ".txt")))
            modules += [os.path.join(path, name) for name in names]
    return modules  # empty in an archive, where the version covers them


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
