"""What of a user's git configuration an isolated git server is given, as a configuration of ours.

Who commits, what is ignored, and how content is converted: without these, git commits as somebody
else and adds other files. The user's files themselves are not given: they may hold tokens
(`url.*.insteadOf`, `http.extraHeader`) and name programs (`credential.helper`). What is included
under a condition stays under it, so that each repository has the identity that it has outside.
"""

# ruff: noqa: PTH118, PTH120
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.isolation.sensitive import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeguard.isolation.view import SandboxUser

PLACE = "/etc/gitconfig"  # that git and its libraries read below a repository's own configuration
MAX_FILES = 32  # that are read; git itself ends at ten includes one in another
MAX_FILE_BYTES = 256 * 1024
_GIVEN = frozenset(
    (
        *("user.name", "user.email", "user.useconfigonly", "author.name", "author.email"),
        *("committer.name", "committer.email", "safe.directory", "init.defaultbranch"),
        *("core.autocrlf", "core.eol", "core.safecrlf", "core.whitespace", "core.quotepath"),
        *("core.precomposeunicode", "core.commentchar", "core.abbrev", "commit.cleanup"),
        *("i18n.commitencoding", "i18n.logoutputencoding", "diff.algorithm", "diff.renames"),
        *("diff.noprefix", "diff.mnemonicprefix", "merge.conflictstyle", "merge.ff", "pull.ff"),
        *("pull.rebase", "rebase.autostash", "status.showuntrackedfiles", "log.date"),
        *("filter.lfs.clean", "filter.lfs.smudge", "filter.lfs.process", "filter.lfs.required"),
    )
)
_LISTS = {"core.excludesfile": "ignore", "core.attributesfile": "attributes"}
_SECTION = lazy_regex(r'\s*\[\s*([\w.-]+)\s*(?:"((?:[^"\\\n]|\\.)*)"\s*)?\]', re.ASCII)
_KEY = lazy_regex(r"\s*([A-Za-z][A-Za-z0-9-]*)[ \t]*(=|(?=[#;\n]|$))[ \t]*", re.ASCII)
_BLANK = lazy_regex(r"\s*(?:[#;][^\n]*)?(?:\n|$)")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "\\": "\\", '"': '"'}


class GitSettings(NamedTuple):
    """What a server is given.

    Attributes:
        texts: the files of ours, by where it sees them.
        sources: the files of the user that they were made from.
    """

    texts: Mapping[str, str]
    sources: tuple[str, ...]


class _UnreadableError(ValueError):
    """A file is no configuration of git."""


def settings_of(host: SandboxUser, variables: Mapping[str, str]) -> GitSettings:
    """What is given of a user's configuration.

    Args:
        host: this machine and its user.
        variables: of PipeGuard's environment.
    """
    reading = _Reading(host)
    folder = os.path.join(variables.get("XDG_CONFIG_HOME") or f"{host.home}/.config", "git")
    lists = {key: os.path.join(folder, name) for key, name in _LISTS.items()}
    files = [PLACE, os.path.join(folder, "config"), f"{host.home}/.gitconfig"]
    if named := variables.get("GIT_CONFIG_GLOBAL"):
        files[1:] = [named]
    # What a file sets counts over what stands before it.
    parts = [reading.list_line(key, path) for key, path in lists.items()]
    parts += [reading.converted(path) for path in files]
    if text := "".join(parts):
        reading.texts[PLACE] = text
    return GitSettings(reading.texts, tuple(reading.sources))


class _Reading:
    """Reads files, and makes those of ours."""

    def __init__(self, host: SandboxUser) -> None:
        self._host = host
        self._around: list[str] = []  # the files that include the one that is read
        self.texts: dict[str, str] = {}
        self.sources: dict[str, None] = {}

    def converted(self, path: str) -> str:
        """What of a file is given, as a text; empty for one that is not there or is not git's."""
        text = self._content(path)
        if text is None or path in self._around:
            return ""
        self._around.append(path)
        try:
            return "".join(self._line(path, key, value) for key, value in entries_of(text))
        except _UnreadableError:
            return ""
        finally:
            self._around.pop()

    def list_line(self, key: str, path: str) -> str:
        """The line that names a list of patterns, which is given as a file of ours."""
        text = self._content(path)
        return "" if text is None else _written(key, self._placed(text))

    def _line(self, path: str, key: str, value: str) -> str:
        if key in _GIVEN:
            return _written(key, value)
        if key in _LISTS:
            return self.list_line(key, self._path(value, path))
        if key == "include.path":
            return self.converted(self._path(value, path))
        if key.startswith("includeif.") and key.endswith(".path"):
            text = self.converted(self._path(value, path))
            condition = _condition(key.removeprefix("includeif.").removesuffix(".path"), path)
            return _written(f"includeIf.{condition}.path", self._placed(text)) if text else ""
        return ""

    def _path(self, value: str, holder: str) -> str:
        """A path in a file, which is relative to the file's own folder."""
        if value == "~" or value.startswith("~/"):
            return self._host.home + value[1:]
        return os.path.join(os.path.dirname(os.path.realpath(holder)), value)

    def _placed(self, text: str) -> str:
        path = f"{PLACE}.{len(self.texts) + 1}"
        self.texts[path] = text
        return path

    def _content(self, path: str) -> str | None:
        """The text of a file; None where it is none, or has to be named to be given."""
        real = os.path.realpath(path)
        if holder_of(real, self._host.sensitive) or len(self.sources) >= MAX_FILES:
            return None
        try:
            with open(real, encoding="utf-8", opener=_opened) as file:
                text = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError):
            return None
        if len(text) > MAX_FILE_BYTES or "\0" in text:
            return None
        self.sources[path] = None
        return text


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe has no writer, and would be waited for


def _condition(text: str, holder: str) -> str:
    """A condition, of which `gitdir:./` is relative to the file that it stands in."""
    kind, colon, pattern = text.partition(":")
    if pattern.startswith("./"):
        pattern = f"{os.path.dirname(os.path.realpath(holder))}/{pattern[2:]}"
    return f"{kind}{colon}{pattern}"


def entries_of(text: str) -> Iterator[tuple[str, str]]:
    """The settings of a configuration (git-config(1)), as `section.subsection.key` and a value.

    Raises:
        ValueError: it is no configuration.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    section, place = "", 0
    while place < len(text):
        if (found := _BLANK.match(text, place)) is not None and found.end() > place:
            place = found.end()
        elif (found := _SECTION.match(text, place)) is not None:
            section, place = found[1].lower(), found.end()
            if found[2] is not None:
                section += "." + re.sub(r"\\(.)", r"\1", found[2])
        elif (found := _KEY.match(text, place)) is not None:
            key, value = f"{section}.{found[1].lower()}".lstrip("."), "true"
            place = found.end()
            if found[2]:
                value, place = _value(text, place)
            yield key, value
        else:
            raise _UnreadableError


def _value(text: str, place: int) -> tuple[str, int]:
    """A value, and where what follows it starts."""
    value, kept, is_quoted = "", 0, False  # so much of it is no space at its end
    while place < len(text) and (text[place] != "\n"):
        letter = text[place]
        place += 1
        if letter == "\\":
            letter = text[place : place + 1]
            place += 1
            if letter == "\n":
                continue
            if letter not in _ESCAPES:
                raise _UnreadableError
            value += _ESCAPES[letter]
            kept = len(value)
        elif letter == '"':
            is_quoted = not is_quoted
            kept = len(value)
        elif letter in "#;" and not is_quoted:
            end = text.find("\n", place)
            return value[:kept], len(text) if end < 0 else end
        else:
            value += letter
            kept = len(value) if is_quoted or not letter.isspace() else kept
    if is_quoted:
        raise _UnreadableError
    return value[:kept], place


def _written(key: str, value: str) -> str:
    section, _, last = key.rpartition(".")
    section, _, inner = section.partition(".")
    heading = f'[{section} "{_quoted(inner)}"]' if inner else f"[{section}]"
    line_ends = {"\n": "\\n", "\t": "\\t", "\b": "\\b"}
    text = "".join(line_ends.get(letter, letter) for letter in _quoted(value))
    return f'{heading}\n\t{last} = "{text}"\n'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
