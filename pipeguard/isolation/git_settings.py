"""The parts of a user's git configuration that an isolated git server is given, as one of ours.

Who commits, what is ignored, and how content is converted: without these, git commits as somebody
else and adds other files. The user's files themselves are not given: they may hold tokens
(`url.*.insteadOf`, `http.extraHeader`) and name programs (`credential.helper`). git itself reads
them. What is included under a condition stays under it, so that each repository has the identity
that it has outside; variables such as GIT_AUTHOR_EMAIL would override a repository's own.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.isolation.sensitive import find_holder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeguard.isolation.view import SandboxUser

PLACE = "/etc/gitconfig"  # that git and its libraries read below a repository's own configuration
MAX_FILES = 32  # of ours
MAX_FILE_BYTES = 256 * 1024
GIT_SECONDS = 5.0
_VARIABLES = ("PATH", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
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


class _GitSettings(NamedTuple):
    """The settings that a server is given.

    Attributes:
        texts: the files of ours, by where it sees them.
        sources: the files of the user that they were made from.
    """

    texts: Mapping[str, str]
    sources: tuple[str, ...]


class _Entry(NamedTuple):
    """One setting, and the file that it is in."""

    file: str
    key: str
    value: str


def read_settings(host: SandboxUser, variables: Mapping[str, str]) -> _GitSettings:
    """Read the settings that a server is given.

    Args:
        host: this machine and its user.
        variables: of PipeGuard's environment.
    """
    reading = _Reading(host, variables)
    folder = os.path.join(variables.get("XDG_CONFIG_HOME") or f"{host.home}/.config", "git")
    lists = (reading.write_list(key, os.path.join(folder, name)) for key, name in _LISTS.items())
    if text := "".join(lists) + reading.convert():
        reading.texts[PLACE] = text
    return _GitSettings(reading.texts, tuple(reading.sources))


class _Reading:
    """Reads a user's configuration, and makes files of ours from it."""

    def __init__(self, host: SandboxUser, variables: Mapping[str, str]) -> None:
        self._host = host
        self._variables = {name: variables[name] for name in _VARIABLES if name in variables}
        self._variables |= {"HOME": host.home, "GIT_DIR": os.devnull}
        self._around: list[str] = []  # files under a condition that include the one that is read
        self.texts: dict[str, str] = {}
        self.sources: dict[str, None] = {}

    def convert(self, *words: str) -> str:
        """Write what is given of a configuration.

        Args:
            words: options of git that name it; by default the system's and the user's.
        """
        return "".join(map(self._convert_entry, self._entries(*words)))

    def write_list(self, key: str, path: str) -> str:
        """Write the line that names a list of patterns, which is given as a file of ours."""
        real = os.path.realpath(path)
        if find_holder(real, self._host.sensitive):
            return ""
        try:
            with open(real, encoding="utf-8", opener=_open_at_once) as file:
                text = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError):
            return ""
        if len(text) > MAX_FILE_BYTES:
            return ""
        self.sources[path] = None
        return self._write_file(key, text)

    def _convert_entry(self, entry: _Entry) -> str:
        file, key, value = entry
        self.sources[file] = None
        if key in _GIVEN:
            return _write_setting(key, value)
        if key in _LISTS:
            return self.write_list(key, self._path(value, file))
        if key.startswith("includeif.") and key.endswith(".path"):
            return self._convert_condition(entry)
        return ""

    def _convert_condition(self, entry: _Entry) -> str:
        file, key, value = entry
        path = self._path(value, file)
        if path in self._around:
            return ""
        self._around.append(path)
        text = self.convert("--file", path)
        self._around.pop()
        condition = _condition(key.removeprefix("includeif.").removesuffix(".path"), file)
        return self._write_file(f"includeIf.{condition}.path", text)

    def _entries(self, *words: str) -> Iterator[_Entry]:
        """List settings as git reads them; none where it cannot."""
        command = ("git", "config", *words, "--includes", "--list", "--show-origin", "-z")
        try:
            listed = subprocess.run(
                command,
                env=self._variables,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return
        fields = os.fsdecode(listed.stdout).split("\0")
        for origin, setting in zip(fields[::2], fields[1::2], strict=False):
            key, mark, value = setting.partition("\n")
            if origin.startswith("file:"):
                yield _Entry(origin.removeprefix("file:"), key, value if mark else "true")

    def _path(self, value: str, holder: str) -> str:
        """Resolve a path in a file, which is relative to the file's own folder."""
        if value == "~" or value.startswith("~/"):
            return self._host.home + value[1:]
        return os.path.join(os.path.dirname(os.path.realpath(holder)), value)

    def _write_file(self, key: str, text: str) -> str:
        """Write a setting that names a file of ours; none for one that would be empty."""
        if not text or len(self.texts) >= MAX_FILES:
            return ""
        path = f"{PLACE}.{len(self.texts) + 1}"
        self.texts[path] = text
        return _write_setting(key, path)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe has no writer, and would be waited for


def _condition(text: str, holder: str) -> str:
    """A condition, of which `gitdir:./` is relative to the file that it stands in."""
    kind, colon, pattern = text.partition(":")
    if pattern.startswith("./"):
        pattern = f"{os.path.dirname(os.path.realpath(holder))}/{pattern[2:]}"
    return f"{kind}{colon}{pattern}"


def _write_setting(key: str, value: str) -> str:
    section, _, last = key.rpartition(".")
    section, _, inner = section.partition(".")
    heading = f'[{section} "{_quote_value(inner)}"]' if inner else f"[{section}]"
    line_ends = {"\n": "\\n", "\t": "\\t", "\b": "\\b"}
    text = "".join(line_ends.get(letter, letter) for letter in _quote_value(value))
    return f'{heading}\n\t{last} = "{text}"\n'


def _quote_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
