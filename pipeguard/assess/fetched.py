"""What a command fetches from a network and runs, and whether it names an exact version.

Knows the command lines of package runners; runs nothing and contacts no registry.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from pipeguard.core.words.notation import word_set


class VersionPin(Enum):
    """How exactly a command names what it fetches."""

    EXACT = "exact"
    MOVABLE = "movable"  # a tag that can be moved to something else
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Fetch:
    """Something that a command fetches.

    Attributes:
        what: as written in the command.
        program: the program that fetches it.
        pin: how exactly it is named.
        example: the same, pinned; X stands for what only its author knows.
    """

    what: str
    program: str
    pin: VersionPin
    example: str


_STARTERS = frozenset({"env", "sudo", "timeout", "nice", "nohup", "stdbuf", "cmd", "command"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash", "ksh", "powershell", "pwsh"})
_RUNNERS = {  # programs that run a package, and the verbs with which they do so
    "npx": "",
    "bunx": "",
    "pnpx": "",
    "uvx": "",
    "npm": "exec x",
    "pnpm": "dlx",
    "yarn": "dlx",
    "bun": "x",
    "pipx": "run",
    "uv": "run",
    "deno": "run",
    "docker": "run",
    "podman": "run",
    "nerdctl": "run",
    "go": "run",
}
_CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
_PYTHON = frozenset({"uvx", "pipx", "uv"})
# Options whose value names what is fetched, and options with another value.
_NAMING = frozenset({"-p", "--package", "--from", "--with", "--spec"})
_VALUED = word_set(
    "--registry -w --workspace --prefix -C --filter --cwd --python --index --default-index "
    "--index-url -i --extra-index-url --constraints -c --overrides --env-file --directory "
    "--project --cache-dir --config-file --extra --group --only-group --with-editable "
    "--with-requirements --pip-args --import-map --config --call "
    "-e --env -v --volume --mount --name --network --net --publish -u --user --workdir -h "
    "--hostname --add-host -l --label --pull --platform --entrypoint -m --memory --cpus --gpus "
    "--device --cap-add --cap-drop --security-opt --tmpfs --ulimit --log-driver --log-opt --dns "
    "--ipc --pid --shm-size --restart --runtime --secret --volumes-from --expose --link"
)
_NPM_EXACT = re.compile(r"@?[^@]+@v?\d+\.\d+\.\d+(?:[-+][\w.+-]+)?\Z")
_PYTHON_EXACT = re.compile(r"[^@=<>~!]+(?:===?|@)\d[\w.+!-]*\Z")
_COMMIT = re.compile(r"[@#][0-9a-f]{40}\b")
_ADDRESS = re.compile(r"(?:git\+|https?://|git@|github:|gitlab:|bitbucket:|gist:|git://|ssh://)")
_PIPED = re.compile(
    r"(?:\b(?:curl|wget|fetch|iwr|irm|Invoke-WebRequest|Invoke-RestMethod)\b[^|;&\n]*"
    r"\|\s*(?:sudo\s+)?(?:(?:ba|z|da|k|a)?sh|python[\d.]*|node|perl|ruby|iex|Invoke-Expression)\b)"
    r"|(?:\b(?:sh|bash|zsh|source|eval|iex)\b[^|;&\n]{0,40}[<$]\(\s*(?:curl|wget|iwr|irm)\b)",
    re.IGNORECASE,
)


def piped(words: Sequence[str]) -> bool:
    """Whether a command pipes a download into an interpreter."""
    return any(_PIPED.search(word) for word in (*words, " ".join(words)))


def fetched(words: Sequence[str]) -> list[Fetch]:
    """What a command fetches; looks into `sh -c`, and behind `env`, `cmd /c` and the like."""
    return list(_fetched(list(words), 0))


def _fetched(words: list[str], depth: int) -> Iterator[Fetch]:
    while words:
        program = _program(words[0])
        if program in _SHELLS:
            if depth == 0:
                yield from _in_shell(words[1:])
            return
        if program in _RUNNERS:
            yield from _of_runner(program, words[1:])
            return
        if program not in _STARTERS and not re.match(r"\w+=|/[cC]\Z|-|\d", words[0]):
            return
        words = words[1:]


def _in_shell(words: list[str]) -> Iterator[Fetch]:
    script = next((b for a, b in pairwise(words) if _runs(a)), "")
    for part in re.split(r"&&|\|\||[;|\n]", script):
        try:
            inner = shlex.split(part)
        except ValueError:
            continue
        if inner[:1] == ["exec"]:
            inner = inner[1:]
        yield from _fetched(inner, 1)


def _runs(option: str) -> bool:
    return option.lower() in ("-command", "/c") or (
        option.startswith("-") and not option.startswith("--") and option.endswith("c")
    )


def _program(word: str) -> str:
    base = re.split(r"[\\/]", word)[-1].lower()
    return re.sub(r"\.(?:exe|cmd|bat|ps1)\Z", "", base)


def _of_runner(program: str, words: list[str]) -> Iterator[Fetch]:
    if program == "uv" and words[:2] == ["tool", "run"]:
        program, words = "uvx", words[2:]
    elif verbs := _RUNNERS[program].split():
        index = next((i for i, word in enumerate(words) if word in verbs), None)
        if index is None:
            return
        words = words[index + 1 :]
    named, first = _read(program, words)
    if program == "uv":
        first = ""  # a script of the project
    for what in dict.fromkeys((*named, first)):
        if (fetch := _fetch(program, what)) is not None:
            yield fetch


def _read(program: str, words: list[str]) -> tuple[list[str], str]:
    """The values of options that name packages, and the first word that is not an option."""
    named: list[str] = []
    from_given = False
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _NAMING and program not in _CONTAINERS:
            value = value if equals else next(rest, "")
            from_given = from_given or name != "--with"
            named += value.split(",")
        elif word in _VALUED or (word in ("-p", "-P", "-w") and program in _CONTAINERS):
            next(rest, None)
        elif word == "--":
            continue
        elif not word.startswith("-"):
            # With a named package, this is a program in it.
            return named, "" if from_given else word
    return named, ""


def _fetch(program: str, what: str) -> Fetch | None:
    if not what or what.startswith((".", "/", "~", "file:", "$", "%")) or "\\" in what:
        return None
    if program in _CONTAINERS:
        return _image(program, what)
    return _package(program, what)


def _package(program: str, what: str) -> Fetch | None:
    if _ADDRESS.match(what) or "git+" in what or "://" in what:
        exact = bool(_COMMIT.search(what))
        bare = re.split(r"[@#](?=[^/]*\Z)", what)[0]
        mark = "#" if program not in _PYTHON else "@"
        return Fetch(
            what, program, VersionPin.EXACT if exact else VersionPin.NONE, f"{bare}{mark}COMMIT"
        )
    if program == "deno" and not what.startswith(("npm:", "jsr:")):
        return None  # a local file
    if program == "go":
        exact = bool(re.search(r"@v\d+\.\d+\.\d+", what))
        name = what.partition("@")[0]
        return Fetch(what, program, _pin(exact), f"{name}@vX.Y.Z") if "@" in what else None
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
    if "@sha256:" in what:
        pin = VersionPin.EXACT
    else:
        pin = (
            VersionPin.MOVABLE
            if tag not in ("", "latest", "main", "master", "edge")
            else VersionPin.NONE
        )
    return Fetch(what, program, pin, f"{name or bare}@sha256:DIGEST")
