"""Compiles the shipped rules into a folder of the package, as its build does.

`python -m pipeguard.rulebook.shipping FOLDER`: the exit code is 3 without a scan engine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import rmtree

from pipeguard.errors import PipeGuardError
from pipeguard.log import say
from pipeguard.rulebook.cache_files import LOCK_NAME, index_name, make_folder, open_index
from pipeguard.rulebook.cache_key import cache_key
from pipeguard.rulebook.compiler import compile_rules
from pipeguard.rulebook.packs import shipped_sources

READABLE = 0o644  # by whoever runs what another user installed


def compile_shipped(folder: str) -> None:
    """Compile the shipped packs, and nobody's own, into a folder, unless an earlier build did.

    Raises:
        RuleError: a pack is wrong.
        EngineError: Hyperscan is missing, or rejects a pattern.
        OSError: the folder cannot be written.
    """
    packs = shipped_sources()
    key, place = cache_key(packs), Path(folder)
    if _is_compiled(place, key):
        return
    rmtree(folder, ignore_errors=True)
    make_folder(folder)
    compile_rules(packs, folder, key)
    (place / LOCK_NAME).unlink(missing_ok=True)
    place.chmod(0o755)
    for file in place.iterdir():
        file.chmod(READABLE)


def _is_compiled(folder: Path, key: bytes) -> bool:
    """True if a folder holds what would be compiled, undamaged, and nothing else."""
    try:
        cached = open_index(str(folder), key, is_shipped=True)
        names = {file.name for file in cached.files if file.content()}
    except OSError:
        return False
    others = {file.name for file in folder.iterdir()} - names
    return cached.is_complete and others == {index_name(key)}


def main() -> int:
    """Compile into the folder in the arguments; return the exit code."""
    try:
        compile_shipped(os.path.abspath(sys.argv[1]))
    except PipeGuardError as error:
        say(str(error), "error")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
