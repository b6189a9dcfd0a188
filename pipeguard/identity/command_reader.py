"""What a command launches, read up to the word that names the server.

Knows how servers are started in clients' configurations, and what merely starts them: `npx`,
`docker run`, `op run --`, `make`. Runs nothing and reads no file; it only looks up whether a module
is in the folder where Python looks first.
"""

# pathlib costs 5 ms, and a server is waiting
# ruff: noqa: PTH110, PTH118, PTH120
from __future__ import annotations

import os.path
import re

from pipeguard.identity import launchers
from pipeguard.identity.arguments import absolute, base, distinguishing_words, ending, unversioned
from pipeguard.identity.package_names import image_name, short_name, source_name
from pipeguard.identity.programs import is_installed, program_name, stem_of
from pipeguard.identity.targets import LaunchTarget, is_server, leads_elsewhere, target_at
from pipeguard.identity.url_names import identity_of_url, is_url

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_LAYERS = 8  # of commands that start commands

# Starters that are recognised among a program's arguments too: their names are no common words.
_STARTING_ANYWHERE = launchers.STARTERS.keys() - launchers.TARGETS - {"mcp", "go", "env", "nice"}


class CommandReader:
    """Reads one command up to the word that names the server, and the words that identify it."""

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

    def read(self) -> LaunchTarget:
        """Find what the command launches."""
        words = iter(self._words)
        for word in words:
            program = program_name(word)
            if program in launchers.ELSEWHERE and not self._starter:
                return self._elsewhere(program, list(words))
            if program in launchers.STARTERS and not self._is_fetched(word):
                self._start(program, word, words)
            elif not self._starter:
                return self._named(word, list(words))
            elif (target := self._inline(word, words)) is not None:
                return target
            elif word.startswith("-") and word not in launchers.VERBS:
                self._option(word, words)
            elif self._is_verb(word):
                self._verb(word)
            elif not (self._starter == "env" and "=" in word):
                return self._named(word, list(words))
        return self._unnamed()

    def _inline(self, word: str, words: Iterator[str]) -> LaunchTarget | None:
        """The server if this option names it: as a module, a shell's script, or code."""
        if word in launchers.MODULES and word not in launchers.STARTERS[self._starter].split():
            return self._module(next(words, word), list(words))
        if self._starter in launchers.SHELLS and word.startswith("-") and word.endswith("c"):
            return self._script(next(words, ""))
        if self._starter in launchers.SHELLS_OF_WINDOWS and " " in word:
            return self._script(word)
        if word in launchers.CODE.get(self._starter, "").split():
            return LaunchTarget(self._starter, "code", self._starter, next(words, ""))
        return None

    # --- words before the server's name ---

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
        """Whether a word is a package or an image, although a starter has that name too."""
        starter = self._starter
        if starter in launchers.TARGETS or (starter in launchers.CONTAINERS and self._verbs):
            return True
        if word in launchers.TARGETS or word == "mcp":
            return starter in launchers.CONTAINERS or starter in launchers.SCRIPTS
        return bool(self._registry and "/" in word)

    def _option(self, word: str, words: Iterator[str]) -> bool:
        """Read an option of the starter and its value; False where it is not in the tables."""
        name, equals, value = word.partition("=")
        starter = self._starter
        folders = launchers.FOLDERS.get(starter, "").split()
        attached = word[1:2] != "-" and len(word) > 2 and word[:2]
        if attached and (attached in folders or attached in launchers.MOUNTS):
            name, equals, value = attached, "=", word[2:].removeprefix("=")
        is_folder = name in folders
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
            self._sources.append(source_name(value, self._folder))
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
        registry = launchers.FETCHING.get((self._starter, word))
        if registry:
            self._registry, self._in_project = registry, False

    # --- the server ---

    def _named(self, word: str, rest: list[str]) -> LaunchTarget:
        if self._starter in launchers.SCRIPTS | launchers.TARGETS:
            rest = self._options_behind(rest)
        if self._starter in launchers.CONTAINERS:
            return self._container(word, rest)
        if is_url(word) and self._starter:
            return target_at(word)
        file = base(word)
        if file in launchers.STARTED_BY_PATH:
            return self._inside([launchers.STARTED_BY_PATH[file], *rest])
        file, colon, attribute = word.rpartition(":")  # `server.py:app`
        if colon and not self._registry and ending(file) in launchers.SCRIPT_ENDINGS:
            word, rest = file, [attribute, *rest]
        if self._is_path(word):
            return self._path(word, rest)
        if self._registry or word.startswith(("npm:", "jsr:", "github:")):
            target = self._package(word)
        elif not self._starter:
            return self._program(word, rest)
        elif self._in_project:
            where = unversioned(self._folder)
            target = LaunchTarget(short_name(word), f"{self._starter} project", where, word)
        else:
            target = LaunchTarget(
                short_name(word), self._starter, source_name(word, self._folder), is_unique=True
            )
        target.parts += tuple(sorted(self._sources))
        return self._with_rest(target, rest)

    def _options_behind(self, rest: list[str]) -> list[str]:
        """Read the starter's options after a task, as in `npm run mcp --prefix /srv/a`.

        Returns:
            The words for the task itself.
        """
        end = rest.index("--") if "--" in rest else len(rest)
        remaining, words = [], iter(rest[:end])
        for word in words:
            is_own = word.startswith("-") and word != "-p"  # as often a port as a package
            if not (is_own and self._option(word, words)):
                remaining.append(word)
        return remaining + rest[end + 1 :]

    def _package(self, word: str) -> LaunchTarget:
        package = source_name(word, self._folder)
        kind = self._registry or word.partition(":")[0]
        if kind == "nix":
            return LaunchTarget(
                word.rpartition("#")[2], kind, word.partition("?")[0], is_unique=True
            )
        if kind == "pypi":
            package = re.sub(r"[-_.]+", "-", package).lower() if "/" not in package else package
        return LaunchTarget(short_name(word), kind, package, is_unique=True)

    def _program(self, word: str, rest: list[str]) -> LaunchTarget:
        """A program that is in no table, by its name: it may be the server, or start one."""
        stem = stem_of(word)
        if stem in launchers.TRANSPARENT and "--" in rest[:-1]:
            return self._inside(rest[rest.index("--") + 1 :])
        target = LaunchTarget(stem, "program", stem, is_unique=True)
        if stem in launchers.TOOLS_OF_A_PROJECT:
            target = LaunchTarget(stem, "program", stem, unversioned(self._folder))
        return self._with_rest(target, rest)

    def _path(self, word: str, rest: list[str]) -> LaunchTarget:
        path = os.path.normpath(word).replace("\\", "/")
        package = path.rpartition("node_modules/")[2]
        stem = stem_of(word)
        if package != path and not package.startswith("."):
            scope = 2 if package.startswith("@") else 1
            name = "/".join(package.split("/")[:scope])
            if short_name(name) in launchers.STARTERS:
                return self._inside([short_name(name), *rest])
            target = LaunchTarget(short_name(name), "npm", name, package, is_unique=True)
            return self._with_rest(target, rest)
        if not self._starter and is_installed(path):
            return self._program(stem, rest)
        whole = unversioned(absolute(word, self._folder))
        in_bin = path.split("/")[-2:-1] in (["bin"], ["Scripts"], [".bin"])
        return self._with_rest(LaunchTarget(stem, "path", whole, is_unique=in_bin), rest)

    def _module(self, module: str, rest: list[str]) -> LaunchTarget:
        """`python -m`: a module of the current folder, of a project, or an installed one."""
        if module in launchers.STARTERS:
            return self._inside([module, *rest])
        own = os.path.join(self._folder, *module.split("."))
        if self._in_project or os.path.exists(own) or os.path.exists(f"{own}.py"):
            target = LaunchTarget(module, "python", module, unversioned(self._folder))
            return self._with_rest(target, rest)
        interpreter = self._interpreter.replace("\\", "/")
        where = ""
        if "/" in interpreter and not is_installed(interpreter):
            where = unversioned(absolute(os.path.dirname(interpreter), self._folder))
        return self._with_rest(LaunchTarget(module, "python", module, where, is_unique=True), rest)

    def _script(self, script: str) -> LaunchTarget:
        """The last command of a shell's script."""
        *before, last = script.replace("&&", ";").split(";")
        is_unique = not re.search(r"[|&<>()$`\n]", script.replace("&&", ";"))
        for piece in before:
            words = piece.split()
            if words[:1] == ["cd"] and len(words) == 2:
                self._folder = absolute(words[1].strip("'\""), self._folder)
            else:
                is_unique = is_unique and words[:1] in (["export"], ["set"])
        words = [word.strip("'\"") for word in last.split() if word != "exec"]
        target = self._inside(words) if words else self._unnamed()
        if not is_unique:  # only a shell knows what it runs
            target.parts += (unversioned(script),)
            target.is_unique = False
        return target

    def _container(self, word: str, rest: list[str]) -> LaunchTarget:
        verb = self._verbs[-1]
        more = distinguishing_words(rest, self._folder)
        if self._verbs[0] == "compose":
            where = (unversioned(self._folder), *self._sources)
            return LaunchTarget(word, "compose", word, *where, *more)
        if verb in ("exec", "start"):
            parts = (*self._sources, *more)
            return LaunchTarget(word, "container", word, *parts, is_unique=not parts)
        if verb != "run":
            words = " ".join([*self._verbs, word])
            return LaunchTarget(word, "docker", words, *self._sources, *more, is_unique=not more)
        image = image_name(word)
        stem = image.rpartition("/")[2]
        if stem in launchers.BASES or (rest and program_name(rest[0]) in launchers.STARTERS):
            inside = self._inside(rest, "/")
            parts = (image, *sorted(self._mounts), *self._sources, inside.kind, *inside.parts)
            return LaunchTarget(inside.stem if rest else stem, "image", *parts)
        target = LaunchTarget(stem, "image", image, *self._sources, is_unique=not self._sources)
        return self._with_rest(target, rest)

    def _elsewhere(self, program: str, rest: list[str]) -> LaunchTarget:
        """A server on another machine or in a system of its own: each word may identify it."""
        words = [word for word in rest if word != "--"]
        names = [
            word for word in _without_options(words) if program_name(word) not in launchers.STARTERS
        ]
        return LaunchTarget(short_name(names[-1]) if names else program, program, *words)

    def _unnamed(self) -> LaunchTarget:
        if self._in_project or "compose" in self._verbs:
            where = (unversioned(self._folder), *self._verbs, *sorted(self._sources))
            return LaunchTarget(self._starter, f"{self._starter} project", *where)
        return LaunchTarget(self._starter or "server", "program", self._starter, is_unique=True)

    def _inside(self, words: list[str], folder: str | None = None) -> LaunchTarget:
        if self._layer >= MOST_LAYERS or not words:
            return self._unnamed()
        inner = CommandReader(words, self._folder if folder is None else folder, self._layer + 1)
        inner._in_project = self._in_project
        return inner.read()

    def _with_rest(self, target: LaunchTarget, rest: list[str]) -> LaunchTarget:
        """A target, with those of its arguments that identify the server.

        The arguments of a package or program whose name says that it is a server configure it. Any
        other program may start anything, and each of its arguments may say what.
        """
        behind = rest[rest.index("--") + 1 :] if "--" in rest else []
        leads = leads_elsewhere(target.stem)
        names_server = is_server(target)
        urls = [word for word in rest if is_url(word)]
        if leads and len(urls) == 1:
            return target_at(urls[0])
        for place, word in enumerate(rest):
            if word == "--stdio" and leads and rest[place + 1 : place + 2]:
                return self._inside(rest[place + 1].split())
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
        target.parts += tuple(unversioned(word) for word in more)
        target.is_unique = target.is_unique and not more
        return target

    def _around(self, target: LaunchTarget, before: list[str], behind: list[str]) -> LaunchTarget:
        """A program that starts another, whose command follows some words of its own."""
        inner = self._inside(behind)
        own = (*target.parts, *distinguishing_words(before, self._folder))
        return LaunchTarget(inner.stem, target.kind, *own, inner.kind, *inner.parts)

    def _is_path(self, word: str) -> bool:
        if word.startswith((".", "/", "~")) or word[1:2] == ":" or "\\" in word:
            return True
        if not self._starter:
            return "/" in word
        if self._starter in launchers.INTERPRETERS:
            return True
        return not self._registry and ending(word) in launchers.SCRIPT_ENDINGS


def _is_alone(words: list[str], place: int) -> bool:
    """Whether a word is neither an option nor possibly the value of one."""
    before = words[place - 1] if place else ""
    return not words[place].startswith("-") and (not before.startswith("-") or "=" in before)


def _without_options(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("-")]
