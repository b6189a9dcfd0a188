"""A shell's script as pipelines of plain words, as the shell would see them. Nothing is run.

Anything that only the machine knows (an environment variable, a program's output) stays as
written. Linear in the text, within the budget's steps; does not know what commands mean.
Source: POSIX.1-2017, volume XCU, chapter 2.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from pipeguard.detect.commands import shell_command, shell_output, word_expansion
from pipeguard.detect.commands.shell_command import Pipeline, ScriptBudget, ShellCommand, dense_runs
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_DEPTH = 5  # of scripts inside each other
MAX_VARIABLES = 1000
COMPOSED_CHARS = 8  # of a command that is written in parts that cost one step
READ_CHARS = 64  # of a here-document, or of a word that is joined, that cost one step

# Most of a script: a word with nothing to undo in it, or the end of a command.
_PLAIN_TOKEN = lazy_regex(
    r"(?a)[ \t\r\f\v]*+(?:([\w!%*+,\-./:=?@\[\]^~][\w!%*+,\-./:=?@\[\]^~#]*)(?=[ \t\n;|)]|\Z)"
    r"|(&&|\|\|?(?!&)|;(?!;)|\n))",
)
_BLANK = lazy_regex(r"[ \t\r\f\v]+")
_REDIRECT = lazy_regex(r"(?![<>]\()(?:[0-9]{0,2}|&)(?:<<<|<<-?|<>|<&|>>|>\||>&|&>>?|<|>)")
_OPERATOR = lazy_regex(r"\|\||&&|\|&|;;&?|;|\||&(?!>)|\n|[()]")
_NO_FILE = lazy_regex(r"[0-9]|-|/dev/null|/dev/std(?:in|out|err)")
_GROUP_BEGINS = ["{"], ["while"], ["for"]
_GROUP_ENDS: tuple[list[str], ...] = ([], ["}"], ["done"], ["fi"])
_ASSIGNING = frozenset(("export", "local", "declare", "readonly", "set", "for"))


ASSIGNMENT = lazy_regex(r"(?s)([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)")
MAX_SEPARATORS = 4  # of $IFS

# A special character is literal inside quotes: there it is replaced by another character.
_QUOTED = {ord(plain): chr(0xE000 + at) for at, plain in enumerate("{},*?[]~= \t\n;|&<>")}
_UNQUOTED = {ord(quoted): chr(plain) for plain, quoted in _QUOTED.items()}
_UNSPECIAL = lazy_regex(r"[^\s'\"\\$`;|&()<>#]+|#")
_UNSPECIAL_IN_QUOTES = lazy_regex(r'[^"\\$`]+')
_ANSI_QUOTED = lazy_regex(r"(?s)(?>(?>(?:[^'\\]++|\\.?){1,500})*)")
_NAME = lazy_regex(r"[A-Za-z_][A-Za-z0-9_]*")


class WordReader:
    """Reads a script word by word.

    Attributes:
        text: the script.
        at: the index of the next character to read.
        is_composed: True if a word since the last reset was assembled from parts by the script.
    """

    __slots__ = "_budget", "_substitute", "_values", "at", "is_composed", "text"

    def __init__(
        self,
        text: str,
        values: Mapping[str, str],
        budget: ScriptBudget,
        substitute: Callable[[str], str],
    ) -> None:
        """Begin to read.

        Args:
            text: the script.
            values: the variables; looked up again for each word.
            budget: limit of the reading.
            substitute: returns the output of a script in `$(...)`.
        """
        self.text = text
        self.at = 0
        self.is_composed = False
        self._values = values
        self._budget = budget
        self._substitute = substitute

    def words(self) -> list[str]:
        """Read one word; braces and unquoted values may make several of it.

        If no word begins here, one character is skipped.
        """
        start = self.at
        pieces = []
        while self.at < len(self.text) and self._budget.spend():
            piece = self._piece()
            if piece is None:
                break
            pieces.append(piece)
        if self.at == start:
            self.at += 1
            return []
        whole = "".join(pieces)
        if not whole:
            return [""]
        words: list[str] = []
        for word in word_expansion.brace_words(whole):
            parts = word.split(" ") if not ASSIGNMENT.match(word) else [word]
            words += (
                word_expansion.without_unset(part.translate(_UNQUOTED)) for part in parts if part
            )
        if len(whole) >= shell_command.LEAST_RUN and not self.is_composed:
            written = self.text[start : self.at]
            if (len(pieces) > 1 or "$" in written or "`" in written) and dense_runs(whole):
                self.is_composed = self._are_composed(words, written)
        return words

    def _are_composed(self, words: Sequence[str], written: str) -> bool:
        """True if words have a dense run that is in neither their written form nor a variable."""
        if not self._budget.spend(sum(map(len, words)) // READ_CHARS):
            return False
        runs = [run for word in words for run in dense_runs(word) if run not in written]
        if not runs:
            return False
        values = [self._values.get(name, "") for name in _NAME.findall(written)]
        return any(not any(run in value for value in values) for run in runs)

    def _piece(self) -> str | None:
        """Read a part of a word that is quoted in one way; None at the end of the word."""
        text = self.text
        character = text[self.at]
        piece = None
        if chunk := _UNSPECIAL.match(text, self.at):
            piece = chunk[0]
            self.at = chunk.end()
        elif character == "'":
            piece = self._until("'").translate(_QUOTED)
        elif character == '"':
            self.at += 1
            piece = self._in_double_quotes().translate(_QUOTED)
        elif character == "\\":
            piece = text[self.at + 1 : self.at + 2].translate(_QUOTED)
            self.at += 2
        elif character == "$":
            piece = self._divide(self._dollar())
        elif character == "`":
            piece = self._substitute(self._until("`").replace("\\`", "`"))
        elif text.startswith(("<(", ">("), self.at):
            self.at += 1
            piece = character + self._substitution()
        return piece

    def _divide(self, value: str) -> str:
        """An unquoted value, with a space wherever $IFS splits words."""
        for separator in self._values.get("IFS", "").strip()[:MAX_SEPARATORS]:
            value = value.replace(separator, " ")
        return value

    def _until(self, quote: str) -> str:
        end = self.text.find(quote, self.at + 1)
        return self._take_inner(len(self.text) if end < 0 else end)

    def _take_inner(self, end: int) -> str:
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return inner

    def _in_double_quotes(self) -> str:
        """Read up to and including the closing quote; the opening one is already read."""
        text = self.text
        size = len(text)
        pieces = []
        while self.at < size and self._budget.spend():
            if chunk := _UNSPECIAL_IN_QUOTES.match(text, self.at):
                pieces.append(chunk[0])
                self.at = chunk.end()
                continue
            character = text[self.at]
            if character == '"':
                self.at += 1
                break
            if character == "\\":
                following = text[self.at + 1 : self.at + 2]
                pieces.append(following if following in '"\\$`' else "\\" + following)
                self.at += 2
            elif character == "`":
                pieces.append(self._substitute(self._until("`")))
            else:
                pieces.append(self._dollar())
        return "".join(pieces)

    def _dollar(self) -> str:  # noqa: PLR0911  one for each form
        """Read the construct after a `$`: a quote, a sum, a substitution or a variable."""
        text = self.text
        at = self.at
        following = text[at + 1 : at + 2]
        if following == "'":
            end = _ANSI_QUOTED.match(text, at + 2).end()  # type: ignore[union-attr]
            self.at = end + 1
            return shell_output.expand_escapes(text[at + 2 : end]).translate(_QUOTED)
        if following == '"':
            self.at += 2
            return self._in_double_quotes().translate(_QUOTED)
        if text.startswith("$((", at):
            end = text.find("))", at)
            self.at = len(text) if end < 0 else end + 2
            return "1"
        if following == "(":
            self.at += 1
            return self._substitution()
        if following == "{":
            end = _closing(text, at + 1, "{", "}")
            self.at = end + 1
            return word_expansion.expand_parameter(self._values, text[at + 2 : end])
        if name := _NAME.match(text, at + 1):
            self.at = name.end()
            return word_expansion.expand_variable(self._values, name[0])
        self.at += 2 if following and following in "@*0123456789?!#-$" else 1
        return "" if following and following in "@*123456789" else "$"

    def _substitution(self) -> str:
        return self._substitute(self._take_inner(_closing(self.text, self.at, "(", ")")))


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    """The index of the bracket that closes the one at `start`; the end if there is none."""
    depth = 0
    quote = ""
    for match in re.compile(r"\\.|['\"" + re.escape(opening + closing) + "]", re.DOTALL).finditer(
        text, start
    ):
        sign = match[0]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == opening:
            depth += 1
        elif sign == closing:
            depth -= 1
            if depth == 0:
                return match.start()
    return len(text)


class Shell:
    """Reads scripts, with the variables that they set.

    Attributes:
        values: the variables that the script sets.
        budget: steps that are left.
        composed: each command, or its input, that the script assembles from parts.
    """

    __slots__ = "_depth", "_on_substitution", "budget", "composed", "values"

    def __init__(
        self, on_substitution: Callable[[list[Pipeline]], None], budget: ScriptBudget
    ) -> None:
        """Begin with the variables that every shell has.

        Args:
            on_substitution: called with each script in a substitution, before its place is filled.
            budget: limit of the reading.
        """
        self.values: dict[str, str] = {
            "IFS": " ", "HOME": "~", "PWD": ".", "SHELL": "/bin/bash",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        self.budget = budget
        self.composed: list[str] = []
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

    def add_composed(self, text: str) -> None:
        """Note a command or its input, as long as the budget lasts."""
        if self.budget.spend(len(text[: shell_command.MAX_VALUE]) // COMPOSED_CHARS):
            self.composed.append(text[: shell_command.MAX_VALUE])

    def substitute(self, script: str) -> str:
        """Replace a substitution by its output if that is known, otherwise by its words."""
        pipelines = self.pipelines(script)
        self._on_substitution(pipelines)
        printed = shell_output.find_output(pipelines[-1]) if pipelines else ""
        if printed is None:
            return "$(" + shell_command.GAP.join(script.split()) + ")"
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
        text = self._text
        reader = self._reader
        if blank := _BLANK.match(text, reader.at):
            reader.at = blank.end()
        elif text[reader.at] == "#":
            end = text.find("\n", reader.at)
            reader.at = len(text) if end < 0 else end
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
        while operator == "\n" and self._heredoc_tags:
            end = _heredoc_end(self._text, self._reader.at - 1, self._heredoc_tags.pop(0))
            following = self._text.find("\n", end + 1)
            self._reader.at = len(self._text) if following < 0 else following

    def _end_group(self) -> None:
        """Send the output of all commands in a group into the pipe behind it."""
        self._words = []
        if not self._pipeline and not self._redirects and self._pipelines:
            group = self._pipelines[self._group :]
            self._pipeline = [command for pipeline in group for command in pipeline][
                -word_expansion.MAX_WORDS :
            ]
            del self._pipelines[self._group :]
        self._end_command()

    def _end_command(self) -> None:
        if self._words or self._redirects:
            words = self._words
            if self._reader.is_composed:
                self._reader.is_composed = False
                self._shell.add_composed(" ".join(words))
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
        """Set the variables at the start of a command, and return the rest of it."""
        values = self._shell.values
        first = 1 if words[0] in _ASSIGNING and words[0] != "for" else 0
        end = first
        while end < len(words) and (match := ASSIGNMENT.fullmatch(words[end])):
            name, value = match.groups()
            if words[end].startswith("+", len(name)):
                value = self._append(values.get(name, ""), value)
            if len(value) <= shell_command.MAX_VALUE and len(values) < MAX_VARIABLES:
                values[name] = value
            if "$(" in value or name.startswith(("PIPEGUARD_", "XDG_")):
                self._redirects.append(("=", f"{name}={value}"))
            end += 1
        if first < end == len(words):
            return []
        words = words[:first] + words[end:]
        if len(words) >= 4 and words[0] == "for" and words[2] == "in":
            values[words[1]] = next((word for word in words[3:] if "pipeguard" in word), words[3])
        return words

    def _append(self, old: str, more: str) -> str:
        """The value of `name+=more`."""
        value = old + more
        is_read = self._shell.budget.spend(len(value) // READ_CHARS)
        if is_read and any(run not in old and run not in more for run in dense_runs(value)):
            self._shell.add_composed(value)
        return value

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
        self._shell.budget.spend((end - start) // READ_CHARS)
        return self._text[start + 1 : end][: shell_command.MAX_VALUE]


def _heredoc_end(text: str, start: int, tag: str) -> int:
    """The index of the line break before a here-document's last line."""
    match = re.compile(r"\n[ \t]*" + re.escape(tag) + r"[ \t]*(?=\n|\Z)").search(text, start)
    return match.start() if match else len(text)
