"""Everything that a command line launches: the server, and each program around or inside it.

A policy's `servers` is compared with all of it: a glob of `block` may fit any of it, and one of
`allow` must fit each. So whatever may run something without a name, as a script, an option or a
variable, is of a kind of its own. Follows links, and reads no file.
"""

import os
import re
from collections.abc import Iterable, Iterator

from pipeguard.identity import launchers
from pipeguard.identity.launch import Launch, Starter
from pipeguard.identity.launchers import WORDS
from pipeguard.identity.words import (
    absolute,
    base,
    ending,
    identity_of_url,
    is_installed,
    is_url,
    source_name,
)

# The first words of all things, and so of a policy's globs.
KINDS = WORDS.KINDS | WORDS.ELSEWHERE | launchers.STARTERS.keys()
_PLAIN = "._~^*+-!<>=,[]@"  # in a package and its version; not `/`, `:` and blanks
_HARMLESS = launchers.HARMLESS, launchers.FOLDERS
_OF_A_SHELL = frozenset("&|<>^%;()$`\n'\"")  # begin another command in a shell of Windows


def _name_package(kind: str, word: str, folder: str) -> str:
    """A package's name in its registry, without its version."""
    if kind == "nix":
        return word.partition("?")[0]
    package = source_name(word, folder)
    is_normal = kind != "pypi" or "/" in package
    return package if is_normal else re.sub(r"[-_.]+", "-", package).lower()


class Things(dict[str, None]):
    """The things that a command launches, each as its kind, a blank and its name."""

    def add(self, kind: str, name: str) -> None:
        """Add one."""
        self[f"{kind} {name}"] = None

    def add_path(self, path: str, folder: str, kind: str = "path") -> None:
        """Add a path as it is written, and where its links lead."""
        self.add(kind, absolute(path, folder))
        real = os.path.realpath(os.path.join(folder, os.path.expanduser(path)))
        self.add(kind, real.replace("\\", "/"))

    def add_url(self, url: str) -> None:
        """Add an address: its host, with its port as well if that is not the usual one."""
        # As the URL Standard reads it, for which `\\` is a slash.
        host = identity_of_url(url.replace("\\", "/")).partition("/")[0]
        self.add("url", re.sub(r"\.?(:\d*)?\Z", "", host))
        self.add("url", host)
        if "\\" in url or not _has_only(host, ".-:[]"):  # programs differ in how they read it
            self.add("code", "url")

    def add_package(self, kind: str, word: str, folder: str) -> str:
        """Add a package, and return its name; one from outside its registry is code as well."""
        name = _name_package(kind, word, folder)
        self.add(kind, name)
        bare = word.removeprefix(f"{kind}:")
        if bare.startswith("@"):
            bare = bare.replace("/", "", 1)
        usual = f"{_PLAIN}#" if kind == "nix" else _PLAIN
        if not _has_only(bare, usual) or ending(bare) in WORDS.ARCHIVES:
            self.add("code", kind)
        return name

    def add_around(self, launch: Launch) -> None:
        """Add what is said before the program: its starters, their options, and variables."""
        for variable in launch.variables:
            self.add("variable", variable)
        for starter in launch.starters:
            word = starter.word
            is_usual = is_installed(absolute(word, launch.folder)) and ".." not in word
            if base(word) != word and not is_usual:
                self.add_path(word, launch.folder)
            is_shell = starter.program in WORDS.SHELLS_OF_WINDOWS
            if is_shell and not _OF_A_SHELL.isdisjoint("".join(starter.rest)):
                self.add("code", starter.program)
            self._add_options(starter, launch.folder)

    def _add_options(self, starter: Starter, folder: str) -> None:
        """Add what a starter's options name; with an unknown one, any word may be the package."""
        end = starter.rest.index("--") if "--" in starter.rest else len(starter.rest)
        rest, options = starter.rest[:end], starter.options
        if starter.program in WORDS.OPTIONS_ANYWHERE:
            late = (word.partition("=") for word in rest if word.startswith("-"))
            options = [*options, *((name, value) for name, _, value in late)]
        are_known = [self._add_option(starter, option, folder) for option in options]
        if starter.registry and not all(are_known):
            for word in rest:
                self.add_package(starter.registry, word.rpartition("=")[2], folder)

    def _add_option(self, starter: Starter, option: tuple[str, str | None], folder: str) -> bool:
        """Add what an option names; False if it may be anything."""
        program, name, value = starter.program, option[0], option[1] or ""
        if name in launchers.PACKAGES.get(program, ()):
            usual = "pypi" if program == "uv" else "npm"
            self.add_package(starter.registry or usual, value, folder)
        elif not any(name in table.get(program, ()) for table in _HARMLESS):
            self.add("option", f"{program} {name}")
            if is_url(value):
                self.add_url(value)
            return False
        self.update(dict.fromkeys(find_loading([value])))  # as a container's variable
        return True


def find_loading(variables: Iterable[str]) -> Iterator[str]:
    """Those variables, as things, with which a program loads code; each may have a value."""
    for variable in variables:
        name = variable.partition("=")[0]
        known = name.upper()
        if known in WORDS.LOADING_VARIABLES or known.startswith("NPM_CONFIG_"):  # any option of npm
            yield f"variable {name}"


def _has_only(text: str, others: str) -> bool:
    """True for a text of letters and digits of ASCII, and other characters."""
    return text.isascii() and all(each.isalnum() or each in others for each in text)
