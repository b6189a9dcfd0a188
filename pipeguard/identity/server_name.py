"""The server that a command or address launches: its identity, and a default name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.identity import launchers
from pipeguard.identity.launch import Form, parse
from pipeguard.identity.launchers import WORDS
from pipeguard.identity.things import Things
from pipeguard.identity.words import (
    URL,
    absolute,
    base,
    distinguishing_words,
    ending,
    find_stem,
    identity_of_url,
    image_name,
    is_installed,
    is_url,
    program_name,
    short_name,
    source_name,
    strip_versions,
)
from pipeguard.records import NamedTuple

GENERIC = "mcp"  # a package of this name, as `@playwright/mcp`, is named by its scope
LONGEST = 50  # characters of a name, without the digits that tell equal names apart
DIGITS = 6  # hex digits that do so
MOST_LAYERS = 8  # of commands that start commands
_LOOPBACK = lazy_regex(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?")
# Starters that are recognised among a program's arguments too: their names are not common words.
_STARTING_ANYWHERE = launchers.STARTERS.keys() - WORDS.TARGETS - {"mcp", "go", "env", "nice"}
# Kinds whose names are local to a folder, so that they identify nothing: files and tasks.
_LOCAL_KINDS = frozenset(
    {"path", *(f"{starter} project" for starter in WORDS.SCRIPTS | WORDS.TARGETS)}
)
_LEADS = "--stdio=", "http:", "https:"  # begin words that a proxy may read as a server
_REGISTRY_KINDS = frozenset({"npm", "pypi", "nuget", "image"})


class Launched(NamedTuple):
    """The server that a command launches.

    Attributes:
        name: the server's default name.
        identity: distinguishes it from every other server, whatever its folders, ports, versions
            and variables are. It may contain secrets of an address, so it is compared as a hash
            and never shown.
        description: the launched program, in a few words for people.
        things: everything that it launches (identity.things).
    """

    name: str
    identity: str
    description: str
    things: tuple[str, ...] = ()

    @property
    def is_elsewhere(self) -> bool:
        """True for a server that is, or may be, on another machine."""
        kind, _, rest = self.identity.partition("\n")
        host = rest.partition("/")[0].partition("?")[0]
        return kind in WORDS.ELSEWHERE or (kind == "url" and _LOOPBACK.fullmatch(host) is None)


def identify_server(command: Sequence[str], folder: str | None = None) -> Launched:
    """The server that a command launches.

    Args:
        command: its words.
        folder: the folder that it starts in; None for the current one.
    """
    folder = folder or _current_folder()
    things = Things()
    target = _Reader(list(command), folder, things).target()
    parts = [part for part in target.parts if part]
    name = clean_name(target.stem)
    if name == GENERIC and target.kind == "npm" and parts[0].startswith("@"):
        name = clean_name(parts[0].partition("/")[0])
    if not target.is_unique:
        from hashlib import sha256

        text = "\n".join(parts).encode("utf-8", "surrogatepass")
        name = f"{name}-{sha256(text).hexdigest()[:DIGITS]}"
    identity = "\n".join((target.kind, *parts))
    return Launched(name, identity, _description(target), tuple(things))


def identify_remote(url: str, name: str) -> Launched:
    """The server at an address, whose scheme, keys and transport do not matter.

    Args:
        url: the address.
        name: the server's name.
    """
    target = _remote_target(url)
    identity = "\n".join((target.kind, *target.parts))
    things = Things()
    things.add_url(url)
    return Launched(name, identity, _description(target), tuple(things))


def _description(target: _Target) -> str:
    first = next(filter(None, target.parts), target.stem)
    if target.kind == "url":
        first = first.partition("/")[0]  # its path may contain a key
    return f"{target.kind} {first}"


def _current_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return "/"


def clean_name(name: str) -> str:
    """A name of letters, digits and `._-`, which is also a safe name of a file."""
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-._")
    return plain[:LONGEST].rstrip("-._") or "server"


class _Target:
    """The program or package that a command launches.

    Attributes:
        stem: the server's short name.
        kind: its kind, as `npm`, `path` or `url`.
        parts: texts that tell it from others of its kind; the first describes it.
        is_unique: whether its stem tells it from other servers.
    """

    def __init__(self, stem: str, kind: str, *parts: str, is_unique: bool = False) -> None:
        self.stem = stem
        self.kind = kind
        self.parts = parts
        self.is_unique = is_unique


def _remote_target(url: str) -> _Target:
    """The server at an address, named by its host and path."""
    matched = re.match(URL, url)
    if not matched:
        return _Target("server", "url", url)
    host = matched[1].rpartition("@")[2].lower()
    segments = [part for part in matched[2].split("/") if part not in ("", "mcp", "sse", "ws")]
    name = "-".join([host.replace(":", "-"), *segments])
    return _Target(name, "url", identity_of_url(url), is_unique=True)


def _is_server(target: _Target) -> bool:
    """True if a package or program is a server, judging by its name."""
    if target.kind in _LOCAL_KINDS and not (target.kind == "path" and target.is_unique):
        return False
    name = (target.parts[0] if target.kind in _REGISTRY_KINDS else target.stem).lower()
    return ("mcp" in name or "server" in name) and not _leads_elsewhere(target.stem)


def _leads_elsewhere(stem: str) -> bool:
    """True for the name of a proxy, launcher or the like, which leads to another server."""
    return not WORDS.LEADING.isdisjoint(stem.lower().replace("_", "-").split("-"))


class _Reader:
    """Finds the server of one command, and the words that identify it."""

    def __init__(
        self,
        words: list[str],
        folder: str,
        things: Things,
        layer: int = 0,
        *,
        in_project: bool = False,
    ) -> None:
        self._launch = parse(words, folder, in_project=in_project)
        self._things, self._note = things, things.add
        things.add_around(self._launch)
        self._folder = self._launch.folder
        self._layer = layer
        starter = self._launch.starters[-1] if self._launch.starters else None
        self._starter = starter.program if starter else ""
        self._registry = starter.registry if starter else ""
        self._verbs = starter.verbs if starter else []
        self._interpreter = starter.word if starter and self._starter in ("python", "py") else ""

    def target(self) -> _Target:
        """Find the command's target, and add all that is launched to the things."""
        target = self._find_target()
        self._add(target)
        return target

    def _add(self, target: _Target) -> None:
        if target.kind.endswith(" project"):
            self._add_project()
        elif target.kind not in ("path", "url"):
            self._note(*_description(target).split(" ", 1))

    def _add_project(self) -> None:
        self._things.add_path(self._folder, self._folder, "project")

    def _find_target(self) -> _Target:
        word, rest = self._launch.word, self._launch.rest
        if self._launch.form is Form.WORD:
            return self._read_named(word, rest)
        if self._launch.form is Form.MODULE:
            return self._module(word, rest)
        if self._launch.form is Form.SCRIPT:
            return self._script(word)
        if self._launch.form is Form.CODE:
            return _Target(self._starter, "code", self._starter, word)
        if self._launch.form is Form.ELSEWHERE:
            self._note("code", word)
            return _elsewhere(word, rest)
        return self._read_unnamed()

    def _read_named(self, word: str, rest: list[str]) -> _Target:
        if self._starter in WORDS.CONTAINERS:
            return self._container(word, rest)
        if is_url(word) and self._starter:
            self._note("code", self._starter)
            self._things.add_url(word)
            return _remote_target(word)
        file = base(word)
        if file in launchers.STARTED_BY_PATH:
            self._things.add_path(word, self._folder)
            return self._inside([launchers.STARTED_BY_PATH[file], *rest])
        file, colon, attribute = word.rpartition(":")  # `server.py:app`
        if colon and not self._registry and ending(file) in WORDS.SCRIPT_ENDINGS:
            word, rest = file, [attribute, *rest]
        if self._is_path(word):
            return self._path(word, rest)
        if self._registry or word.startswith(("npm:", "jsr:", "github:")):
            target = self._package(word)
        elif not self._starter:
            return self._program(word, rest)
        elif self._launch.in_project:
            where = strip_versions(self._folder)
            target = _Target(short_name(word), f"{self._starter} project", where, word)
        else:
            self._note("program", find_stem(word))
            target = _Target(
                short_name(word), self._starter, source_name(word, self._folder), is_unique=True
            )
        target.parts += tuple(sorted(self._launch.sources))
        return self._with_rest(target, rest)

    def _package(self, word: str) -> _Target:
        kind = self._registry or word.partition(":")[0]
        package = self._things.add_package(kind, word, self._folder)
        stem = word.rpartition("#")[2] if kind == "nix" else short_name(word)
        return _Target(stem, kind, package, is_unique=True)

    def _program(self, word: str, rest: list[str]) -> _Target:
        """A program that is not in any table, by its name: it may be the server, or start one."""
        stem = find_stem(word)
        self._note("program", stem)
        if stem in WORDS.TRANSPARENT and "--" in rest[:-1]:
            return self._inside(rest[rest.index("--") + 1 :])
        target = _Target(stem, "program", stem, is_unique=True)
        if stem in WORDS.TOOLS_OF_A_PROJECT:
            self._add_project()
            target = _Target(stem, "program", stem, strip_versions(self._folder))
        return self._with_rest(target, rest)

    def _path(self, word: str, rest: list[str]) -> _Target:
        self._things.add_path(word, self._folder)
        path = os.path.normpath(word).replace("\\", "/")
        package = path.rpartition("node_modules/")[2]
        stem = find_stem(word)
        if package != path and not package.startswith("."):
            scope = 2 if package.startswith("@") else 1
            name = "/".join(package.split("/")[:scope])
            if short_name(name) in launchers.STARTERS:
                return self._inside([short_name(name), *rest])
            target = _Target(short_name(name), "npm", name, package, is_unique=True)
            return self._with_rest(target, rest)
        if not self._starter and is_installed(path):
            return self._program(stem, rest)
        whole = strip_versions(absolute(word, self._folder))
        in_bin = path.split("/")[-2:-1] in (["bin"], ["Scripts"], [".bin"])
        return self._with_rest(_Target(stem, "path", whole, is_unique=in_bin), rest)

    def _module(self, module: str, rest: list[str]) -> _Target:
        """`python -m`: a module of the current folder, of a project, or an installed one."""
        self._note("python", module)
        if module in launchers.STARTERS:
            return self._inside([module, *rest])
        own = os.path.join(self._folder, *module.split("."))
        if self._launch.in_project or os.path.exists(own) or os.path.exists(f"{own}.py"):
            self._add_project()
            target = _Target(module, "python", module, strip_versions(self._folder))
            return self._with_rest(target, rest)
        interpreter = self._interpreter.replace("\\", "/")
        where = ""
        if "/" in interpreter and not is_installed(interpreter):
            where = strip_versions(absolute(os.path.dirname(interpreter), self._folder))
        return self._with_rest(_Target(module, "python", module, where, is_unique=True), rest)

    def _script(self, script: str) -> _Target:
        """The last command of a shell's script."""
        self._note("code", self._starter)
        for piece in re.split(r"[;&|<>(){}$`\n]+", script):
            words = [word.strip("'\"") for word in piece.split()]
            self._inside(["env", *(word for word in words if word not in WORDS.OF_A_SCRIPT)])
        *before, last = script.replace("&&", ";").split(";")
        is_unique = not re.search(r"[|&<>()$`\n]", script.replace("&&", ";"))
        for piece in before:
            words = piece.split()
            if words[:1] == ["cd"] and len(words) == 2:
                self._folder = absolute(words[1].strip("'\""), self._folder)
            else:
                is_unique = is_unique and words[:1] in (["export"], ["set"])
        words = [word.strip("'\"") for word in last.split() if word != "exec"]
        target = self._inside(words) if words else self._read_unnamed()
        if not is_unique:  # only a shell can read it
            target.parts += (strip_versions(script),)
            target.is_unique = False
        return target

    def _container(self, word: str, rest: list[str]) -> _Target:
        verb, sources = self._verbs[-1], self._launch.sources
        more = distinguishing_words(rest, self._folder)
        if self._verbs[0] == "compose":
            self._add_project()
            where = (strip_versions(self._folder), *sources)
            return _Target(word, "compose", word, *where, *more)
        if verb in ("exec", "start"):
            self._inside(rest, "/")
            return _Target(
                word, "container", word, *sources, *more, is_unique=not (sources or more)
            )
        if verb != "run":
            words = " ".join([*self._verbs, word])
            return _Target(word, "docker", words, *sources, *more, is_unique=not more)
        image = image_name(word)
        stem = image.rpartition("/")[2]
        if stem in WORDS.BASES or (rest and program_name(rest[0]) in launchers.STARTERS):
            inside = self._inside(rest, "/")
            mounts = sorted(self._launch.mounts)
            parts = image, *mounts, *sources, inside.kind, *inside.parts
            return _Target(inside.stem if rest else stem, "image", *parts)
        target = _Target(stem, "image", image, *sources, is_unique=not sources)
        return self._with_rest(target, rest)

    def _read_unnamed(self) -> _Target:
        if self._launch.in_project or "compose" in self._verbs:
            where = (strip_versions(self._folder), *self._verbs, *sorted(self._launch.sources))
            return _Target(self._starter, f"{self._starter} project", *where)
        return _Target(self._starter or "server", "program", self._starter, is_unique=True)

    def _inside(self, words: list[str], folder: str = "") -> _Target:
        if self._layer >= MOST_LAYERS:
            self._note("code", "nested")
        if self._layer >= MOST_LAYERS or not words:
            return self._read_unnamed()
        reader = _Reader(
            words,
            folder or self._folder,
            self._things,
            self._layer + 1,
            in_project=self._launch.in_project,
        )
        return reader.target()

    def _with_rest(self, target: _Target, rest: list[str]) -> _Target:
        """A target, with those of its arguments that identify the server.

        The arguments of a package or program named as a server configure it. Any other program may
        start anything, and each of its arguments may name it.
        """
        behind = rest[rest.index("--") + 1 :] if "--" in rest else []
        leads = _leads_elsewhere(target.stem)
        names_server = _is_server(target)
        self._add(target)
        if leads and (found := self._read_proxy(target, rest)):
            return found
        if behind and (program_name(behind[0]) in launchers.STARTERS or not names_server):
            return self._around(target, rest[: -len(behind)], behind)
        started = [
            place
            for place, word in enumerate(rest[:-1])
            if program_name(word) in _STARTING_ANYWHERE
        ]
        if started and not names_server:
            return self._around(target, rest[: started[0]], rest[started[0] :])
        if names_server:
            words = [word for place, word in enumerate(rest) if _is_alone(rest, place)]
            more = [identity_of_url(word) for word in words if is_url(word)]
        else:
            more = distinguishing_words(rest, self._folder, with_folders=target.kind != "path")
        target.parts += tuple(strip_versions(word) for word in more)
        target.is_unique = target.is_unique and not more
        return target

    def _read_proxy(self, target: _Target, rest: list[str]) -> _Target | None:
        """The server that a proxy leads to; None if its arguments do not say."""
        inner: _Target | None = None
        urls = [word for word in rest if is_url(word)]
        for place, word in enumerate(rest):
            is_known = word.isdigit() or word in WORDS.SAY_LITTLE
            if word == "--stdio" and rest[place + 1 :]:
                started = self._inside(rest[place + 1].split())
                inner = inner or started
            elif word in urls:
                self._things.add_url(word)
            elif word.startswith(_LEADS) or (_is_alone(rest, place) and not is_known):
                self._note("code", target.stem)
        return _remote_target(urls[0]) if len(urls) == 1 else inner

    def _around(self, target: _Target, before: list[str], behind: list[str]) -> _Target:
        """A program that starts another one, whose command follows some words of its own."""
        inner = self._inside(behind)
        own = (*target.parts, *distinguishing_words(before, self._folder))
        return _Target(inner.stem, target.kind, *own, inner.kind, *inner.parts)

    def _is_path(self, word: str) -> bool:
        if word.startswith((".", "/", "~")) or word[1:2] == ":" or "\\" in word:
            return True
        if not self._starter:
            return "/" in word
        if self._starter in WORDS.INTERPRETERS:
            return True
        return not self._registry and ending(word) in WORDS.SCRIPT_ENDINGS


def _is_alone(words: list[str], place: int) -> bool:
    """True if a word is neither an option nor possibly the value of one."""
    before = words[place - 1] if place else ""
    return not words[place].startswith("-") and (not before.startswith("-") or "=" in before)


def _elsewhere(program: str, rest: list[str]) -> _Target:
    """A server on another machine or in a separate system: each word may identify it."""
    words = [word for word in rest if word != "--"]
    named = [word for word in words if not word.startswith("-")]
    names = [word for word in named if program_name(word) not in launchers.STARTERS]
    return _Target(short_name(names[-1]) if names else program, program, *words)
