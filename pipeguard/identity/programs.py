"""Names of programs and where they are installed, from the words of a command."""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH111
from __future__ import annotations

import os.path
import re

from pipeguard.identity import launchers
from pipeguard.identity.arguments import base, ending

# Folders of programs installed for all projects of a user: their path does not identify a server.
_INSTALLED = (
    r"(?:/usr(?:/local)?)?/s?bin/|/opt/homebrew/|/home/linuxbrew/|/nix/store/|/snap/|"
    r"~/(?:\.local/bin|\.cargo/bin|go/bin|\.nvm|\.volta|\.bun|\.deno|\.asdf)/"
)


def program_name(word: str) -> str:
    """The program that a word names: `python` for `/usr/bin/python3.12`, `npx` for `npx.cmd`."""
    name = base(word)
    if ending(name) in launchers.PROGRAM_ENDINGS:
        name = name.rpartition(".")[0] or name
    return "python" if name.rstrip("0123456789.") == "python" else name


def stem_of(word: str) -> str:
    """The last part of a path, without the ending of a script or program."""
    is_known = ending(word) in launchers.SCRIPT_ENDINGS | launchers.PROGRAM_ENDINGS
    return base(word).rpartition(".")[0] if is_known else base(word)


def is_installed(path: str) -> bool:
    """Whether a program is in a folder of installed programs, and not in a project's."""
    home_folder = os.path.expanduser("~").rstrip("/")
    if home_folder:
        path = path.replace(f"{home_folder}/", "~/", 1)
    return bool(re.match(_INSTALLED, path))
