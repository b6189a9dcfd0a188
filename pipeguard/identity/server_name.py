"""Who a server is: what its command launches, and the name that it has where nobody gave one.

Knows how servers are started in clients' configurations, and what merely starts them: `npx`,
`docker run`, `op run --`, `make`. Runs nothing and reads no file; whether a module stands in the
folder where Python looks first is the one thing that it looks up.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH110, PTH111, PTH118, PTH120
from __future__ import annotations

import os.path
import re

from pipeguard.identity import launchers
from pipeguard.identity.arguments import absolute, base, ending, telling, unversioned
from pipeguard.identity.url_names import URL, identity_of_url, is_url

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 50  # characters of a name, without what tells equal names apart
DIGITS = 6  # hex digits that tell them apart
MOST_LAYERS = 8  # of commands that start commands

_ENDS_OF_A_NAME = "[=<>!~@;: "  # a version, an extra or a tag: PEP 508, npm, OCI
# What installs programs for all projects of a user: where they stand does not tell two apart.
_INSTALLED = (
    r"(?:/usr(?:/local)?)?/s?bin/|/opt/homebrew/|/home/linuxbrew/|/nix/store/|/snap/|"
    r"~/(?:\.local/bin|\.cargo/bin|go/bin|\.nvm|\.volta|\.bun|\.deno|\.asdf)/"
)
# Kinds of which the name says nothing: a file's, and a task's.
_OF_A_FOLDER = frozenset(
    {"path", *(f"{starter} project" for starter in launchers.SCRIPTS | launchers.TARGETS)}
)
_OF_A_REGISTRY = frozenset({"npm", "pypi", "nuget", "image"})
# Those that are found among a program's arguments too, since their names are no other words.
_STARTING_ANYWHERE = launchers.STARTERS.keys() - launchers.TARGETS - {"mcp", "go", "env", "nice"}


class Launched:
    """What a command launches.

    Attributes:
        name: what the server is called where nobody gave it a name.
        identity: tells it from every other, whatever its folders, ports, versions and variables
            are. It may hold what is secret in an address: it is compared as a hash, never shown.
        description: what is launched, in a few words for people.
    """

    __slots__ = ("description", "identity", "name")

    def __init__(self, name: str, identity: str, description: str) -> None:
        self.name = name
        self.identity = identity
        self.description = description


class _ReadCommand:
    """What was found in a command.

    Attributes:
        stem: the server's name, in short.
        kind: what it is, as `npm`, `path` or `url`.
        parts: what tells it from others of its kind; the first one is what is told.
        is_plain: whether the stem says it all.
    """

    __slots__ = ("is_plain", "kind", "parts", "stem")

    def __init__(self, stem: str, kind: str, *parts: str, is_plain: bool = False) -> None:
        self.stem = stem
        self.kind = kind
        self.parts = parts
        self.is_plain = is_plain


def launched(command: Sequence[str], folder: str | None = None) -> Launched:
    """Say what a command launches.

    Args:
        command: its words.
        folder: in which it is started; None for the current one.
    """
    found = _Reader(list(command), folder if folder is not None else _here(), 0).read()
    parts = [part for part in found.parts if part]
    name = _clean(found.stem)
    if not found.is_plain:
        from pipeguard.core.digest import sha256

        told_apart = "\n".join(parts).encode("utf-8", "surrogatepass")
        name = f"{name}-{sha256(told_apart).hexdigest()[:DIGITS]}"
    first = (parts or [found.stem])[0]
    if found.kind == "url":
        first = first.partition("/")[0]  # its path may hold a key
    return Launched(name, "\n".join((found.kind, *parts)), f"{found.kind} {first}")


def launched_at(url: str, name: str = "") -> Launched:
    """Say what stands at an address; its scheme, its keys and its transport do not matter.

    Args:
        url: the address.
        name: what it is called; empty for its host and path.
    """
    found = _of_url(url)
    told = f"url {found.parts[0].partition('/')[0]}"
    return Launched(name or _clean(found.stem), "\n".join((found.kind, *found.parts)), told)


def server_name(command: Sequence[str]) -> str:
    """A name for a command, as `server-filesystem` for `npx -y @scope/server-filesystem /dir`.

    What its short name does not tell from others gets a few hex digits, since `index.js`,
    `server.py` and `make mcp` stand in many folders.
    """
    return launched(command).name


class _Reader:
    """Reads one command up to the word that names the server, and what else tells it apart."""

    def __init__(self, words: list[str], folder: str, layer: int) -> None:
        self._words = words
        self._folder = folder
        self._layer = layer
        self._starter = ""
        self._registry = ""
        self._in_project = False
        self._interpreter = ""
        self._verbs: list[str] = []
        self._sources: list[str] = []
        self._mounts: list[str] = []

    def read(self) -> _ReadCommand:
        """What the command launches."""
        words = iter(self._words)
        for word in words:
            program = _program(word)
            if program in launchers.ELSEWHERE and not self._starter:
                return self._elsewhere(program, list(words))
            if program in launchers.STARTERS and not self._is_fetched(word):
                self._start(program, word, words)
            elif not self._starter:
                return self._named(word, list(words))
            elif (found := self._given(word, words)) is not None:
                return found
            elif word.startswith("-") and word not in launchers.VERBS:
                self._option(word, words)
            elif self._is_verb(word):
                self._verb(word)
            elif not (self._starter == "env" and "=" in word):
                return self._named(word, list(words))
        return self._unnamed()

    def _given(self, word: str, words: Iterator[str]) -> _ReadCommand | None:
        """What an option says in the command itself: a module, or what is to be run as text."""
        if word in launchers.MODULES and word not in launchers.STARTERS[self._starter].split():
            return self._module(next(words, word), list(words))
        if self._starter in launchers.SHELLS and word.startswith("-") and word.endswith("c"):
            return self._script(next(words, ""))
        if self._starter in launchers.SHELLS_OF_WINDOWS and " " in word:
            return self._script(word)
        if word in launchers.CODE.get(self._starter, "").split():
            return _ReadCommand(self._starter, "code", self._starter, next(words, ""))
        return None

    # --- what stands before the server's name ---------------------------------------------

    def _start(self, program: str, word: str, words: Iterator[str]) -> None:
        self._starter = program
        self._verbs = []
        self._registry = launchers.REGISTRIES.get(program, "")
        self._in_project = self._in_project or program in launchers.PROJECTS
        if program in launchers.REGISTRIES:
            self._in_project = False
        self._interpreter = word if program in ("python", "py") else ""
        if program == "docker-compose":
            self._verb("compose")
        if program == "timeout":
            for duration in words:
                if duration in launchers.STARTERS["timeout"].split():
                    next(words, None)
                elif not duration.startswith("-"):
                    return

    def _is_fetched(self, word: str) -> bool:
        """Whether a word is a package or an image, although a program has that name as well."""
        starter = self._starter
        if starter in launchers.TARGETS or (starter in launchers.CONTAINERS and self._verbs):
            return True
        if word in launchers.TARGETS or word == "mcp":
            return starter in launchers.CONTAINERS or starter in launchers.SCRIPTS
        return bool(self._registry and "/" in word)

    def _option(self, word: str, words: Iterator[str]) -> bool:
        """Take what an option of a starter says; True where it is one that says something."""
        name, equals, value = word.partition("=")
        starter = self._starter
        attached = word[1:2] != "-" and len(word) > 2 and word[:2]
        if attached and attached in f"{launchers.FOLDERS.get(starter)} {launchers.MOUNTS}":
            name, equals, value = attached, "=", word[2:].removeprefix("=")
        is_folder = name in launchers.FOLDERS.get(starter, "").split()
        if is_folder and starter in launchers.CONTAINERS and "compose" not in self._verbs:
            is_folder = False
        is_source = name in launchers.SOURCES.get(starter, "").split()
        is_source |= self._verbs == ["compose"] and name in ("-p", "--project-name")
        if not (is_folder or is_source or name in launchers.STARTERS[starter].split()):
            return False
        if not equals:
            value = next(words, "")
        if is_folder:
            self._folder = absolute(value, self._folder)
        elif name in launchers.MOUNTS:
            self._mounts.append(value)
        elif is_source:
            self._sources.append(_source(value, self._folder))
        return True

    def _is_verb(self, word: str) -> bool:
        if self._starter in launchers.CONTAINERS:
            if not self._verbs:
                return True
            return self._verbs == ["compose"] and word in ("run", "exec", "up", "start")
        if self._starter == "nix":
            return not self._verbs
        return word in launchers.VERBS or (self._in_project and word in launchers.PROJECT_VERBS)

    def _verb(self, word: str) -> None:
        self._verbs.append(word)
        fetched = launchers.FETCHING.get((self._starter, word))
        if fetched:
            self._registry, self._in_project = fetched, False

    # --- the server ------------------------------------------------------------------------

    def _named(self, word: str, rest: list[str]) -> _ReadCommand:
        if self._starter in launchers.SCRIPTS | launchers.TARGETS:
            rest = self._options_behind(rest)
        if self._starter in launchers.CONTAINERS:
            return self._container(word, rest)
        if is_url(word) and self._starter:
            return _of_url(word)
        file = base(word)
        if file in launchers.STARTED_BY_PATH:
            return self._inside([launchers.STARTED_BY_PATH[file], *rest])
        file, colon, thing = word.rpartition(":")  # `server.py:app`
        if colon and not self._registry and ending(file) in launchers.SCRIPT_ENDINGS:
            word, rest = file, [thing, *rest]
        if self._is_path(word):
            return self._path(word, rest)
        if self._registry or word.startswith(("npm:", "jsr:", "github:")):
            found = self._package(word)
        elif not self._starter:
            return self._program(word, rest)
        elif self._in_project:
            where = unversioned(self._folder)
            found = _ReadCommand(_short(word), f"{self._starter} project", where, word)
        else:
            found = _ReadCommand(
                _short(word), self._starter, _source(word, self._folder), is_plain=True
            )
        found.parts += tuple(sorted(self._sources))
        return self._with_rest(found, rest)

    def _options_behind(self, rest: list[str]) -> list[str]:
        """Where a project is may also be said behind the task: `npm run mcp --prefix /srv/a`.

        Returns:
            What is left for the task.
        """
        end = rest.index("--") if "--" in rest else len(rest)
        left, words = [], iter(rest[:end])
        for word in words:
            is_own = word.startswith("-") and word != "-p"  # as often a port as a package
            if not (is_own and self._option(word, words)):
                left.append(word)
        return left + rest[end + 1 :]

    def _package(self, word: str) -> _ReadCommand:
        package = _source(word, self._folder)
        kind = self._registry or word.partition(":")[0]
        if kind == "nix":
            return _ReadCommand(
                word.rpartition("#")[2], kind, word.partition("?")[0], is_plain=True
            )
        if kind == "pypi":
            package = re.sub(r"[-_.]+", "-", package).lower() if "/" not in package else package
        return _ReadCommand(_short(word), kind, package, is_plain=True)

    def _program(self, word: str, rest: list[str]) -> _ReadCommand:
        """A program that is not known, by its name: it may be the server, or start one."""
        stem = _stem(word)
        if stem in launchers.TRANSPARENT and "--" in rest[:-1]:
            return self._inside(rest[rest.index("--") + 1 :])
        found = _ReadCommand(stem, "program", stem, is_plain=True)
        if stem in launchers.TOOLS_OF_A_PROJECT:
            found = _ReadCommand(stem, "program", stem, unversioned(self._folder))
        return self._with_rest(found, rest)

    def _path(self, word: str, rest: list[str]) -> _ReadCommand:
        path = os.path.normpath(word).replace("\\", "/")
        package = path.rpartition("node_modules/")[2]
        stem = _stem(word)
        if package != path and not package.startswith("."):
            scope = 2 if package.startswith("@") else 1
            name = "/".join(package.split("/")[:scope])
            if _short(name) in launchers.STARTERS:
                return self._inside([_short(name), *rest])
            found = _ReadCommand(_short(name), "npm", name, package, is_plain=True)
            return self._with_rest(found, rest)
        if not self._starter and _is_installed(path):
            return self._program(stem, rest)
        whole = unversioned(absolute(word, self._folder))
        in_bin = path.split("/")[-2:-1] in (["bin"], ["Scripts"], [".bin"])
        return self._with_rest(_ReadCommand(stem, "path", whole, is_plain=in_bin), rest)

    def _module(self, module: str, rest: list[str]) -> _ReadCommand:
        """`python -m`: of the folder where Python looks first, of a project, or installed."""
        if module in launchers.STARTERS:
            return self._inside([module, *rest])
        own = os.path.join(self._folder, *module.split("."))
        if self._in_project or os.path.exists(own) or os.path.exists(f"{own}.py"):
            found = _ReadCommand(module, "python", module, unversioned(self._folder))
            return self._with_rest(found, rest)
        interpreter = self._interpreter.replace("\\", "/")
        where = ""
        if "/" in interpreter and not _is_installed(interpreter):
            where = unversioned(absolute(os.path.dirname(interpreter), self._folder))
        return self._with_rest(_ReadCommand(module, "python", module, where, is_plain=True), rest)

    def _script(self, script: str) -> _ReadCommand:
        """What a shell is told to run, which is the last of what is chained."""
        *before, last = script.replace("&&", ";").split(";")
        is_plain = not re.search(r"[|&<>()$`\n]", script.replace("&&", ";"))
        for piece in before:
            words = piece.split()
            if words[:1] == ["cd"] and len(words) == 2:
                self._folder = absolute(words[1].strip("'\""), self._folder)
            else:
                is_plain = is_plain and words[:1] in (["export"], ["set"])
        words = [word.strip("'\"") for word in last.split() if word != "exec"]
        found = self._inside(words) if words else self._unnamed()
        if not is_plain:  # only a shell knows what it comes to
            found.parts += (unversioned(script),)
            found.is_plain = False
        return found

    def _container(self, word: str, rest: list[str]) -> _ReadCommand:
        verb = self._verbs[-1]
        if self._verbs[0] == "compose":
            project = self._folder
            where = (unversioned(project), *self._sources)
            return _ReadCommand(word, "compose", word, *where, *telling(rest, self._folder))
        if verb in ("exec", "start"):
            told = (*self._sources, *telling(rest, self._folder))
            return _ReadCommand(word, "container", word, *told, is_plain=not told)
        if verb != "run":
            chosen = telling(rest, self._folder)
            words = " ".join([*self._verbs, word])
            return _ReadCommand(word, "docker", words, *self._sources, *chosen, is_plain=not chosen)
        image = _image(word)
        stem = image.rpartition("/")[2]
        if stem in launchers.BASES or (rest and _program(rest[0]) in launchers.STARTERS):
            inside = self._inside(rest, "/")
            parts = (image, *sorted(self._mounts), *self._sources, inside.kind, *inside.parts)
            return _ReadCommand(inside.stem if rest else stem, "image", *parts)
        found = _ReadCommand(stem, "image", image, *self._sources, is_plain=not self._sources)
        return self._with_rest(found, rest)

    def _elsewhere(self, program: str, rest: list[str]) -> _ReadCommand:
        """On another machine, or in a system of its own: each word may say which."""
        words = [word for word in rest if word != "--"]
        names = [word for word in _bare(words) if _program(word) not in launchers.STARTERS]
        return _ReadCommand(_short(names[-1]) if names else program, program, *words)

    def _unnamed(self) -> _ReadCommand:
        if self._in_project or "compose" in self._verbs:
            where = (unversioned(self._folder), *self._verbs, *sorted(self._sources))
            return _ReadCommand(self._starter, f"{self._starter} project", *where)
        return _ReadCommand(self._starter or "server", "program", self._starter, is_plain=True)

    def _inside(self, words: list[str], folder: str | None = None) -> _ReadCommand:
        if self._layer >= MOST_LAYERS or not words:
            return self._unnamed()
        inner = _Reader(words, self._folder if folder is None else folder, self._layer + 1)
        inner._in_project = self._in_project
        return inner.read()

    def _with_rest(self, found: _ReadCommand, rest: list[str]) -> _ReadCommand:
        """With what its arguments say of which server it is.

        Where a package or a program is called a server, they say how it is to be one. Whatever
        else is started may start anything, and each of its arguments may say what.
        """
        behind = rest[rest.index("--") + 1 :] if "--" in rest else []
        leads = _leads(found.stem)
        is_server = _is_server(found)
        urls = [word for word in rest if is_url(word)]
        if leads and len(urls) == 1:
            return _of_url(urls[0])
        for place, word in enumerate(rest):
            if word == "--stdio" and leads and rest[place + 1 : place + 2]:
                return self._inside(rest[place + 1].split())
        if behind and (_program(behind[0]) in launchers.STARTERS or not is_server):
            return self._around(found, rest[: -len(behind)], behind)
        started = [
            place for place, word in enumerate(rest[:-1]) if _program(word) in _STARTING_ANYWHERE
        ]
        if started and not is_server:
            return self._around(found, rest[: started[0]], rest[started[0] :])
        if is_server:
            words = [word for place, word in enumerate(rest) if _is_alone(rest, place)]
            more = [identity_of_url(word) for word in words if is_url(word)]
        else:
            more = telling(rest, self._folder, with_folders=found.kind != "path")
        found.parts += tuple(unversioned(word) for word in more)
        found.is_plain = found.is_plain and not more
        return found

    def _around(self, found: _ReadCommand, before: list[str], behind: list[str]) -> _ReadCommand:
        """A program that starts what stands behind some words of its own."""
        inner = self._inside(behind)
        told = telling(before, self._folder)
        return _ReadCommand(inner.stem, found.kind, *found.parts, *told, inner.kind, *inner.parts)

    def _is_path(self, word: str) -> bool:
        if word.startswith((".", "/", "~")) or word[1:2] == ":" or "\\" in word:
            return True
        if not self._starter:
            return "/" in word
        if self._starter in launchers.INTERPRETERS:
            return True
        return not self._registry and ending(word) in launchers.SCRIPT_ENDINGS


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  pathlib costs 5 ms
    except FileNotFoundError:  # it was deleted
        return "/"


def _program(word: str) -> str:
    """The program that a word names: `python` for `/usr/bin/python3.12`, `npx` for `npx.cmd`."""
    name = base(word)
    if ending(name) in launchers.PROGRAM_ENDINGS:
        name = name.rpartition(".")[0] or name
    return "python" if name.rstrip("0123456789.") == "python" else name


def _is_server(found: _ReadCommand) -> bool:
    """Whether a package or a program is a server, going by what it is called."""
    if found.kind in _OF_A_FOLDER and not (found.kind == "path" and found.is_plain):
        return False
    name = (found.parts[0] if found.kind in _OF_A_REGISTRY else found.stem).lower()
    return ("mcp" in name or "server" in name) and not _leads(found.stem)


def _leads(stem: str) -> bool:
    return not launchers.LEADING.isdisjoint(stem.lower().replace("_", "-").split("-"))


def _is_alone(words: list[str], place: int) -> bool:
    """Whether a word is no option, and cannot be the value of one."""
    before = words[place - 1] if place else ""
    return not words[place].startswith("-") and (not before.startswith("-") or "=" in before)


def _bare(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("-")]


def _of_url(url: str) -> _ReadCommand:
    matched = re.match(URL, url)
    if matched is None:
        return _ReadCommand("server", "url", url)
    host = matched[1].rpartition("@")[2].lower()
    segments = [part for part in matched[2].split("/") if part not in ("", "mcp", "sse", "ws")]
    name = "-".join([host.replace(":", "-"), *segments])
    return _ReadCommand(name, "url", identity_of_url(url), is_plain=True)


def _image(word: str) -> str:
    """An image without its tag and digest, and without what stands for the usual registry."""
    name = word.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = f"{head}{slash}{tail.partition(':')[0]}".lower()
    for usual in ("index.docker.io/", "docker.io/", "library/"):
        name = name.removeprefix(usual)
    return name


def _source(word: str, folder: str) -> str:
    """A package, repository or path without the version in which it is asked for."""
    if "://" in word:
        scheme, _, rest = word.partition("://")
        address, _, fragment = rest.partition("#")
        host, slash, path = address.partition("?")[0].partition("/")
        path = path.partition("@")[0].removesuffix(".git")
        within = f"#{fragment}" if "subdirectory" in fragment else ""
        host = host.rpartition("@")[2].lower()
        return unversioned(f"{scheme.lower()}://{host}{slash}{path}{within}")
    if word.startswith((".", "/", "~")) or word[1:2] == ":":
        return unversioned(absolute(word, folder))
    for registry in ("npm:", "jsr:"):
        word = word.removeprefix(registry)
    if re.search(r".@(?:npm|file|link|git[\w+]*|github|https?):", word):
        return word  # another package under this name
    word = word.partition("#")[0] or word
    prefix, word = ("github:", word[7:]) if word.startswith("github:") else ("", word)
    first, name = word[:1], word[1:]
    for character in _ENDS_OF_A_NAME:
        name = name.partition(character)[0]
    return f"{prefix}{first}{name}"


def _short(word: str) -> str:
    """The bare name of a package, an image or a module, without where it is and which one."""
    for registry in ("npm:", "jsr:"):
        if word.startswith(registry):
            word = word.removeprefix(registry)
            if not word.startswith("@"):
                word = word.partition("/")[0]
    parts = word.split("/")
    name = parts[1] if word.startswith("@") and len(parts) > 1 else parts[-1]
    for character in _ENDS_OF_A_NAME:
        name = name.partition(character)[0] or name
    return name


def _is_installed(path: str) -> bool:
    home = os.path.expanduser("~").rstrip("/")
    return bool(re.match(_INSTALLED, path.replace(f"{home}/", "~/", 1) if home else path))


def _stem(word: str) -> str:
    is_known = ending(word) in launchers.SCRIPT_ENDINGS | launchers.PROGRAM_ENDINGS
    return base(word).rpartition(".")[0] if is_known else base(word)


def _clean(name: str) -> str:
    plain = "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip("-._")
    return plain[:LONGEST].rstrip("-._") or "server"
