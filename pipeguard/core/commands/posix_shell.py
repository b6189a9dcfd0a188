"""A shell's script as pipelines of plain words, as the shell would see them. Nothing is run.

What only the machine knows (a variable of its environment, the output of a program) stays as it is
written. Linear in the text, and never more steps than its budget; knows no command's meaning.
Source: POSIX.1-2017, volume XCU, chapter 2. Words are read by core.commands.shell_words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeguard.core.commands.script_budget import ScriptBudget
from pipeguard.core.commands.shell_command import GAP, MAX_VALUE, Pipeline, ShellCommand
from pipeguard.core.commands.shell_output import output
from pipeguard.core.commands.shell_words import ASSIGNMENT, WordReader
from pipeguard.core.commands.word_expansion import MAX_WORDS
from pipeguard.core.lazy_regex import lazy_regex

MAX_DEPTH = 5  # of scripts inside each other
MAX_VARIABLES = 1000
HEREDOC_CHARS = 64  # of a here-document that cost one step

# What most of a script is made of: a word with nothing to undo in it, or the end of a command.
_PLAIN_TOKEN = lazy_regex(
    r"[ \t\r\f\v]*+(?:([\w!%*+,\-./:=?@\[\]^~][\w!%*+,\-./:=?@\[\]^~#]*)(?=[ \t\n;|)]|\Z)"
    r"|(&&|\|\|?(?!&)|;(?!;)|\n))",
    re.ASCII,
)
_BLANK = lazy_regex(r"[ \t\r\f\v]+")
_REDIRECT = lazy_regex(r"(?:[0-9]{0,2}|&)(?:<<<|<<-?|<>|<&|>>|>\||>&|&>>?|<|>)")
_OPERATOR = lazy_regex(r"\|\||&&|\|&|;;&?|;|\||&(?!>)|\n|[()]")
_NO_FILE = lazy_regex(r"[0-9]|-|/dev/null|/dev/std(?:in|out|err)")
_GROUP_BEGINS = (["{"], ["while"], ["for"])
_GROUP_ENDS: tuple[list[str], ...] = ([], ["}"], ["done"], ["fi"])
_ASSIGNING = frozenset(("export", "local", "declare", "readonly", "set", "for"))


class Shell:
    """Reads scripts, with the variables that they set.

    Attributes:
        values: the variables that the script sets.
        budget: what reading may still cost.
    """

    __slots__ = ("_depth", "_on_substitution", "budget", "values")

    def __init__(
        self,
        on_substitution: Callable[[list[Pipeline]], None],
        budget: ScriptBudget | None = None,
    ) -> None:
        """Begin with the variables that every shell has.

        Args:
            on_substitution: called with each script in a substitution, before its place is filled.
            budget: what reading may cost; None for that of a short script.
        """
        self.values: dict[str, str] = {
            "IFS": " ", "HOME": "~", "PWD": ".", "SHELL": "/bin/bash",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        self.budget = budget or ScriptBudget()
        self._depth = 0
        self._on_substitution = on_substitution

    def pipelines(self, text: str) -> list[Pipeline]:
        """The pipelines of a script, in order."""
        if self._depth >= MAX_DEPTH:
            self.budget.is_exceeded = True
            return []
        self._depth += 1
        try:
            return _Script(self, text).read()
        finally:
            self._depth -= 1

    def substitute(self, script: str) -> str:
        """What replaces a substitution: its output where that is known, else its words."""
        pipelines = self.pipelines(script)
        self._on_substitution(pipelines)
        printed = output(pipelines[-1]) if pipelines else ""
        if printed is None:
            return "$(" + GAP.join(script.split()) + ")"
        return printed.rstrip("\n")


class _Script:
    """Reads one script: gathers words to commands, commands to pipelines."""

    def __init__(self, shell: Shell, text: str) -> None:
        self._shell = shell
        self._text = text.replace("\\\r\n", "").replace("\\\n", "").replace("\r\n", "\n")
        self._reader = WordReader(self._text, shell.values, shell.budget, shell.substitute)
        self._pipelines: list[Pipeline] = []
        self._group = 0  # how many pipelines come before the last group of commands
        self._pipeline: Pipeline = []
        self._words: list[str] = []
        self._redirects: list[tuple[str, str]] = []
        self._stdin: str | None = None
        self._heredoc_tags: list[str] = []

    def read(self) -> list[Pipeline]:
        while self._reader.at < len(self._text) and self._shell.budget.spend():
            if plain := _PLAIN_TOKEN.match(self._text, self._reader.at):
                self._reader.at = plain.end()
                if word := plain[1]:
                    self._words.append(word)
                else:
                    self._operator(plain[2])
            else:
                self._token()
        self._end_pipeline()
        return self._pipelines

    def _token(self) -> None:
        """Read a blank, a comment, a redirect, an operator or a word."""
        text, reader = self._text, self._reader
        if blank := _BLANK.match(text, reader.at):
            reader.at = blank.end()
        elif text[reader.at] == "#":
            end = text.find("\n", reader.at)
            reader.at = len(text) if end < 0 else end
        elif text.startswith(("<(", ">("), reader.at):
            self._words += reader.words()
        elif redirect := _REDIRECT.match(text, reader.at):
            self._redirect(redirect)
        elif operator := _OPERATOR.match(text, reader.at):
            reader.at = operator.end()
            self._operator(operator[0])
        else:
            self._words += reader.words()

    def _operator(self, operator: str) -> None:
        if operator not in ("|", "|&"):
            self._end_pipeline()
        elif self._words in _GROUP_ENDS:
            self._end_group()
        else:
            self._end_command()
        if operator == "(" or (
            self._pipelines and self._pipelines[-1][0].words[:1] in _GROUP_BEGINS
        ):
            self._group = len(self._pipelines) - (operator != "(")
        if operator == "\n":
            while self._heredoc_tags:
                self._skip_heredoc(self._heredoc_tags.pop(0))

    def _end_group(self) -> None:
        """Have the output of all commands in a group go into the pipe behind it."""
        self._words = []
        if not self._pipeline and not self._redirects and self._pipelines:
            group = self._pipelines[self._group :]
            self._pipeline = [command for pipeline in group for command in pipeline][-MAX_WORDS:]
            del self._pipelines[self._group :]
        self._end_command()

    def _end_command(self) -> None:
        if self._words or self._redirects:
            words = self._words
            if words and (words[0] in _ASSIGNING or "=" in words[0]):
                words = self._assign(words)
            self._pipeline.append(ShellCommand(words, self._redirects, self._stdin))
            self._words, self._redirects = [], []
        self._stdin = None

    def _end_pipeline(self) -> None:
        self._end_command()
        if self._pipeline:
            self._pipelines.append(self._pipeline)
            self._pipeline = []

    def _assign(self, words: list[str]) -> list[str]:
        """Set the variables that a command begins with, and return the rest of it."""
        values = self._shell.values
        first = 1 if words[0] in _ASSIGNING and words[0] != "for" else 0
        end = first
        while end < len(words) and (match := ASSIGNMENT.fullmatch(words[end])):
            if len(match[2]) <= MAX_VALUE and len(values) < MAX_VARIABLES:
                values[match[1]] = match[2]
            end += 1
        if first < end == len(words):
            return []
        words = words[:first] + words[end:]
        if len(words) >= 4 and words[0] == "for" and words[2] == "in":
            values[words[1]] = words[3]
        return words

    # -- redirects -------------------------------------------------------------------------------

    def _redirect(self, match: re.Match[str]) -> None:
        operator = match[0].lstrip("0123456789")
        self._reader.at = match.end()
        target = self._target()
        if operator in ("<<", "<<-"):
            self._heredoc_tags.append(target)
            self._stdin = self._heredoc(target)
        elif operator == "<<<":
            self._stdin = target
        elif target and not _NO_FILE.fullmatch(target):
            self._redirects.append((operator.replace("&", "").replace("|", "") or ">", target))

    def _target(self) -> str:
        reader = self._reader
        while reader.at < len(self._text) and self._text[reader.at] in " \t":
            reader.at += 1
        return " ".join(reader.words())

    def _heredoc(self, tag: str) -> str:
        """The here-document that begins on the next line."""
        start = self._text.find("\n", self._reader.at)
        if start < 0 or not tag:
            return ""
        end = _heredoc_end(self._text, start, tag)
        self._shell.budget.spend((end - start) // HEREDOC_CHARS)
        return self._text[start + 1 : end][:MAX_VALUE]

    def _skip_heredoc(self, tag: str) -> None:
        end = _heredoc_end(self._text, self._reader.at - 1, tag)
        following = self._text.find("\n", end + 1)
        is_last = following < 0 or end >= len(self._text)
        self._reader.at = len(self._text) if is_last else following


def _heredoc_end(text: str, start: int, tag: str) -> int:
    """The index of the line break before a here-document's last line."""
    match = re.compile(r"\n[ \t]*" + re.escape(tag) + r"[ \t]*(?=\n|\Z)").search(text, start)
    return match.start() if match else len(text)
