"""Code that a command fetches from a network and runs, and whether it pins a version.

Knows the command lines of package runners; runs nothing and contacts no registry.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import dropwhile
from typing import NamedTuple

from pipeguard.identity.launch import Form, Starter, parse
from pipeguard.identity.launchers import PACKAGES, WORDS


class VersionPin(Enum):
    """The precision with which a command names its package or image."""

    EXACT = "exact"
    MOVABLE = "movable"  # a tag that can be moved to something else
    NONE = "none"


class Fetch(NamedTuple):
    """A package or image that a command fetches.

    Attributes:
        what: its name, as written in the command.
        program: the program that fetches it.
        pin: how exactly it is named.
        example: a pinned name; X stands for a value that only its author knows.
    """

    what: str
    program: str
    pin: VersionPin
    example: str


_NEEDS_RUN = frozenset({"pipx", "uv", "deno", "go", *WORDS.CONTAINERS})
_PYTHON = frozenset({"uvx", "pipx", "uv"})
# Options after which the first word is a program in a package, or a shell's line.
_BEFORE_NO_PACKAGE = frozenset({"-p", "--package", "--from", "--spec", "-c", "--call"})
_NPM_EXACT = re.compile(r"@?[^@]+@v?\d+\.\d+\.\d+(?:[-+][\w.+-]+)?\Z")
_PYTHON_EXACT = re.compile(r"[^@=<>~!]+(?:===?|@)\d[\w.+!-]*\Z")
_COMMIT = re.compile(r"[@#][0-9a-f]{40}\b")
_ADDRESS = re.compile(r"(?:git\+|https?://|git@|github:|gitlab:|bitbucket:|gist:|git://|ssh://)")
_ARCHIVE = re.compile(r"://.*/([^/?#]+\.(?:tgz|tar\.gz|zip|whl))(?:[?#].*)?\Z")
_BEFORE_PROGRAM = re.compile(r"(?:exec|command)\Z|\w+=")  # in a shell's line


def find_fetched(words: Sequence[str]) -> list[Fetch]:
    """Find the packages and images that a command fetches, even in `sh -c` or behind `env`."""
    launch = parse(list(dropwhile(_BEFORE_PROGRAM.match, words)))
    found = [fetch for starter in launch.starters for fetch in _fetches(starter)]
    if launch.form is not Form.SCRIPT:
        return found
    for part in re.split(r"&&|\|\||[;|\n]", launch.word):
        try:
            found += find_fetched(shlex.split(part))
        except ValueError:  # unbalanced quotes
            continue
    return found


def _fetches(starter: Starter) -> Iterator[Fetch]:
    program = starter.program
    first = next(iter(starter.rest), "")
    is_run = "run" in starter.verbs and "compose" not in starter.verbs
    if not is_run if program in _NEEDS_RUN else starter.registry != "npm" and program != "uvx":
        return
    naming = PACKAGES.get(program, ())
    named = [value or "" for name, value in starter.options if name in naming]
    words = {name for name, value in starter.options if name in naming or value is None}
    if program == "uv" and "tool" in starter.verbs:
        program = "uvx"
    if program == "uv" or words & _BEFORE_NO_PACKAGE:
        first = ""
    for what in dict.fromkeys((*",".join(named).split(","), first)):
        if fetch := _fetch(program, what):
            yield fetch


def _fetch(program: str, what: str) -> Fetch | None:
    if not what or what.startswith((".", "/", "~", "file:", "$", "%")) or "\\" in what:
        return None
    if program in WORDS.CONTAINERS:
        return _image(program, what)
    return _package(program, what)


def _package(program: str, what: str) -> Fetch | None:
    if _ADDRESS.match(what) or "git+" in what or "://" in what:
        pin = _pin(bool(_COMMIT.search(what)))
        bare = re.split(r"[@#](?=[^/]*\Z)", what)[0]
        mark = "#" if program not in _PYTHON else "@"
        example = f"{bare}{mark}COMMIT"
        if archive := _ARCHIVE.search(what):  # which has no commit: a copy that stays the same
            example = f"./{archive[1]}"
        return Fetch(what, program, pin, example)
    if program == "deno" and not what.startswith(("npm:", "jsr:")):
        return None  # a local file
    if program == "go":
        name = what.partition("@")[0]
        pin = _pin(bool(re.search(r"@v\d+\.\d+\.\d+", what)))
        return Fetch(what, program, pin, f"{name}@vX.Y.Z") if "@" in what else None
    if program in _PYTHON:
        name = re.split(r"[@=<>~!;\s]", what)[0]
        mark = "==" if program in ("pipx", "uv") else "@"
        return Fetch(what, program, _pin(bool(_PYTHON_EXACT.match(what))), f"{name}{mark}X.Y.Z")
    name = what[:1] + what[1:].partition("@")[0]  # a scope also starts with @
    return Fetch(what, program, _pin(bool(_NPM_EXACT.match(what))), f"{name}@X.Y.Z")


def _pin(exact: bool) -> VersionPin:  # noqa: FBT001  of a match
    return VersionPin.EXACT if exact else VersionPin.NONE


def _image(program: str, what: str) -> Fetch:
    bare = what.partition("@")[0]
    name, _, tag = bare.rpartition(":") if ":" in bare.rpartition("/")[2] else (bare, "", "")
    is_tagged = tag not in ("", "latest", "main", "master", "edge")
    pin = VersionPin.MOVABLE if is_tagged else VersionPin.NONE
    pin = VersionPin.EXACT if "@sha256:" in what else pin
    return Fetch(what, program, pin, f"{name or bare}@sha256:DIGEST")
