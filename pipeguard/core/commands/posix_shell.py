"""Words of a shell, as the shell would see them: quotes, variables, braces and escapes undone.

Splits a script into pipelines of plain words. Nothing is run, and what only the machine knows
(a variable of its environment, the output of a program) stays as it is written. Linear in the
text, and never more than a fixed number of steps; knows no command's meaning. Source:
POSIX.1-2017, volume XCU, chapter 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipeguard.core.commands.shell_output import MAX_VALUE, Pipeline, ShellCommand, escapes, output

MAX_DEPTH = 5  # of scripts inside each other
MAX_STEPS = 30_000  # pieces of words in all scripts of one message, 3 us each, and one a character
HEREDOC_CHARS = 64  # of a here-document that cost one step
MAX_WORDS = 64  # that braces may make of one word

GAP = "\x1f"  # a space inside of a word
_UNKNOWN = "\ue0f0"  # before and after the name of a variable that nobody set
# What is special outside of quotes stands for itself inside: there it is another character.
_QUOTED = {ord(plain): chr(0xE000 + at) for at, plain in enumerate("{},*?[]~= \t\n;|&<>")}
_PLAIN = {ord(quoted): chr(plain) for plain, quoted in _QUOTED.items()}

_CHUNK = re.compile(r"[^\s'\"\\$`;|&()<>#]+|#")
# What most of a script is made of: a word with nothing to undo in it, or the end of a command.
_PLAINLY = re.compile(
    r"[ \t\r\f\v]*+(?:([\w!%*+,\-./:=?@\[\]^~][\w!%*+,\-./:=?@\[\]^~#]*)(?=[ \t\n;|)]|\Z)"
    r"|(&&|\|\|?(?!&)|;(?!;)|\n))",
    re.ASCII,
)
_BLANK = re.compile(r"[ \t\r\f\v]+")
_GROUPS = (["{"], ["while"], ["for"])
_ASSIGNING = frozenset(("export", "local", "declare", "readonly", "set", "for"))
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)", re.DOTALL)
_REDIRECT = re.compile(r"(?:[0-9]{0,2}|&)(?:<<<|<<-?|<>|<&|>>|>\||>&|&>>?|<|>)")
_OPERATOR = re.compile(r"\|\||&&|\|&|;;&?|;|\||&(?!>)|\n|[()]")


class Effort:
    """What reading the scripts of one message may still cost.

    Attributes:
        steps: that may still be taken.
        is_cut: True where there was more than was read.
    """

    __slots__ = ("is_cut", "steps")

    def __init__(self, length: int = 0) -> None:
        """Begin with scripts of so many characters."""
        self.steps = MAX_STEPS + length
        self.is_cut = False

    def take(self, steps: int = 1) -> bool:
        """Whether so many more steps may be taken."""
        self.is_cut = self.is_cut or steps > self.steps
        self.steps -= 0 if self.is_cut else steps
        return not self.is_cut


class Shell:
    """What is known while a script is read.

    Attributes:
        values: of variables that the script sets.
        effort: that reading may still cost.
        depth: of scripts inside each other.
        nested: called with each script in a substitution, before its place is filled.
    """

    __slots__ = ("depth", "effort", "nested", "values")

    def __init__(
        self, nested: Callable[[list[Pipeline]], None], effort: Effort | None = None
    ) -> None:
        self.values: dict[str, str] = {
            "IFS": " ", "HOME": "~", "PWD": ".", "SHELL": "/bin/bash",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }  # fmt: skip
        self.effort = effort or Effort()
        self.depth = 0
        self.nested = nested

    def pipelines(self, text: str) -> list[Pipeline]:
        """The pipelines of a script, in order."""
        if self.depth >= MAX_DEPTH:
            self.effort.is_cut = True
            return []
        self.depth += 1
        try:
            return _Script(self, text).read()
        finally:
            self.depth -= 1

    def substitute(self, script: str) -> str:
        """What a substitution is replaced by: its output where that is known."""
        found = self.pipelines(script)
        self.nested(found)
        printed = output(found[-1]) if found else ""
        if printed is None:
            return "$(" + GAP.join(script.split()) + ")"
        return printed.rstrip("\n")


class _Script:
    """One script, being read."""

    def __init__(self, shell: Shell, text: str) -> None:
        self.shell = shell
        self.text = text.replace("\\\r\n", "").replace("\\\n", "").replace("\r\n", "\n")
        self.at = 0
        self.found: list[Pipeline] = []
        self.pipeline: Pipeline = []
        self.words: list[str] = []
        self.redirects: list[tuple[str, str]] = []
        self.given: str | None = None
        self.heredocs: list[str] = []
        self.group = 0  # where the last group of commands began

    def read(self) -> list[Pipeline]:
        text, size = self.text, len(self.text)
        while self.at < size and self.shell.effort.take():
            if plain := _PLAINLY.match(text, self.at):
                self.at = plain.end()
                if word := plain[1]:
                    self.words.append(word)
                else:
                    self._operator(plain[2])
                continue
            character = text[self.at]
            if blank := _BLANK.match(text, self.at):
                self.at = blank.end()
            elif character == "#":
                end = text.find("\n", self.at)
                self.at = size if end < 0 else end
            elif text.startswith(("<(", ">("), self.at):
                self._word()
            elif redirect := _REDIRECT.match(text, self.at):
                self._redirect(redirect)
            elif operator := _OPERATOR.match(text, self.at):
                self.at = operator.end()
                self._operator(operator[0])
            else:
                self._word()
        self._end_pipeline()
        return self.found

    def _operator(self, operator: str) -> None:
        if operator in ("|", "|&") and self.words in ([], ["}"], ["done"], ["fi"]):
            # What comes out of a group comes out of all that stands in it.
            self.words = []
            if not self.pipeline and not self.redirects and self.found:
                group = self.found[self.group :]
                self.pipeline = [one for found in group for one in found][-MAX_WORDS:]
                del self.found[self.group :]
            self._end_command()
        elif operator in ("|", "|&"):
            self._end_command()
        else:
            self._end_pipeline()
        if operator == "(" or (self.found and self.found[-1][0].words[:1] in _GROUPS):
            self.group = len(self.found) - (operator != "(")
        if self.heredocs and operator == "\n":
            while self.heredocs:
                self._skip_heredoc(self.heredocs.pop(0))

    def _end_command(self) -> None:
        if self.words or self.redirects:
            words = self.words
            if words and (words[0] in _ASSIGNING or "=" in words[0]):
                words = self._assigned(words)
            self.pipeline.append(ShellCommand(words, self.redirects, self.given))
            self.words, self.redirects = [], []
        self.given = None

    def _end_pipeline(self) -> None:
        self._end_command()
        if self.pipeline:
            self.found.append(self.pipeline)
            self.pipeline = []

    def _assigned(self, words: list[str]) -> list[str]:
        """Take the assignments before a command; they are kept for what comes after."""
        values = self.shell.values
        skip = 1 if words and words[0] in _ASSIGNING and words[0] != "for" else 0
        end = skip
        while end < len(words) and (match := _ASSIGNMENT.fullmatch(words[end])):
            if len(match[2]) <= MAX_VALUE and len(values) < 1000:
                values[match[1]] = match[2]
            end += 1
        if skip < end == len(words):
            return []
        words = words[:skip] + words[end:]
        if len(words) >= 4 and words[0] == "for" and words[2] == "in" and _UNKNOWN not in words[3]:
            values[words[1]] = words[3]
        return words

    def _redirect(self, match: re.Match[str]) -> None:
        operator = match[0].lstrip("0123456789")
        self.at = match.end()
        target = self._target()
        if operator in ("<<", "<<-"):
            self.heredocs.append(target)
            self.given = self._heredoc(target)
        elif operator == "<<<":
            self.given = target
        elif target and not re.fullmatch(r"[0-9]|-|/dev/null|/dev/std(?:in|out|err)", target):
            self.redirects.append((operator.replace("&", "").replace("|", "") or ">", target))

    def _target(self) -> str:
        while self.at < len(self.text) and self.text[self.at] in " \t":
            self.at += 1
        count = len(self.words)
        self._word()
        taken = self.words[count:]
        del self.words[count:]
        return " ".join(taken)

    def _heredoc(self, tag: str) -> str:
        start = self.text.find("\n", self.at)
        if start < 0 or not tag:
            return ""
        end = _heredoc_end(self.text, start, tag)
        self.shell.effort.take((end - start) // HEREDOC_CHARS)
        return self.text[start + 1 : end][:MAX_VALUE]

    def _skip_heredoc(self, tag: str) -> None:
        end = _heredoc_end(self.text, self.at - 1, tag)
        following = self.text.find("\n", end + 1)
        self.at = len(self.text) if following < 0 or end >= len(self.text) else following

    # -- words -----------------------------------------------------------------------------------

    def _word(self) -> None:
        """Read one word; braces and unquoted values may make several of it."""
        text, size = self.text, len(self.text)
        start = self.at
        pieces: list[str] = []
        while self.at < size and self.shell.effort.take():
            character = text[self.at]
            if chunk := _CHUNK.match(text, self.at):
                pieces.append(chunk[0])
                self.at = chunk.end()
            elif character == "'":
                pieces.append(self._until("'").translate(_QUOTED))
            elif character == '"':
                self.at += 1
                pieces.append(self._double().translate(_QUOTED))
            elif character == "\\":
                pieces.append(text[self.at + 1 : self.at + 2].translate(_QUOTED))
                self.at += 2
            elif character == "$":
                pieces.append(self._divided(self._dollar()))
            elif character == "`":
                script = self._until("`").replace("\\`", "`")
                pieces.append(self.shell.substitute(script))
            elif text.startswith(("<(", ">("), self.at):
                self.at += 1
                pieces.append(character + self._substituted())
            else:
                break
        if self.at == start:
            self.at += 1  # nothing that a word begins with
            return
        for word in _braces("".join(pieces)):
            parts = word.split(" ") if _ASSIGNMENT.match(word) is None else [word]
            self.words.extend(_known(part.translate(_PLAIN)) for part in parts if part)
        if not pieces or not "".join(pieces):
            self.words.append("")

    def _divided(self, value: str) -> str:
        """An unquoted value, divided where the script says that words end."""
        for separator in self.shell.values.get("IFS", "").strip()[:4]:
            value = value.replace(separator, " ")
        return value

    def _until(self, quote: str) -> str:
        end = self.text.find(quote, self.at + 1)
        end = len(self.text) if end < 0 else end
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return inner

    def _double(self) -> str:
        """What stands between double quotes, the first of them read already."""
        text, size = self.text, len(self.text)
        pieces: list[str] = []
        while self.at < size and self.shell.effort.take():
            if chunk := _IN_DOUBLE.match(text, self.at):
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
                pieces.append(self.shell.substitute(self._until("`")))
            else:
                pieces.append(self._dollar())
        return "".join(pieces)

    def _dollar(self) -> str:  # noqa: PLR0911  one for each form
        text, at = self.text, self.at
        following = text[at + 1 : at + 2]
        if following == "'":
            self.at += 1
            end = _ansi_end(text, self.at + 1)
            inner = text[self.at + 1 : end]
            self.at = end + 1
            return escapes(inner).translate(_QUOTED)
        if following == '"':
            self.at += 2
            return self._double().translate(_QUOTED)
        if text.startswith("$((", at):
            end = text.find("))", at)
            self.at = len(text) if end < 0 else end + 2
            return "1"
        if following == "(":
            self.at += 1
            return self._substituted()
        if following == "{":
            end = _closing(text, at + 1, "{", "}")
            self.at = end + 1
            return _parameter(self.shell.values, text[at + 2 : end])
        name = _NAME.match(text, at + 1)
        if name:
            self.at = name.end()
            return _value(self.shell.values, name[0])
        self.at += 2 if following and following in "@*0123456789?!#-$" else 1
        return "" if following and following in "@*123456789" else "$"

    def _substituted(self) -> str:
        end = _closing(self.text, self.at, "(", ")")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return self.shell.substitute(inner)


_IN_DOUBLE = re.compile(r'[^"\\$`]+')


def _heredoc_end(text: str, start: int, tag: str) -> int:
    """Where the line break before a here-document's last line stands."""
    found = re.compile(r"\n[ \t]*" + re.escape(tag) + r"[ \t]*(?=\n|\Z)").search(text, start)
    return found.start() if found else len(text)


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    """The index of the bracket that closes the one at `start`; the end where there is none."""
    depth, quote = 0, ""
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


def _ansi_end(text: str, at: int) -> int:
    while at < len(text) and text[at] != "'":
        at += 2 if text[at] == "\\" else 1
    return min(at, len(text))


def _known(word: str) -> str:
    """A word with the names of variables that nobody set as they are written."""
    if _UNKNOWN not in word:
        return word
    return _UNSET.sub(r"$\1", _INSIDE.sub("", word))


_UNSET = re.compile(f"{_UNKNOWN}([^{_UNKNOWN}]*){_UNKNOWN}")
# In the midst of a word such a name is only there to tear it.
_INSIDE = re.compile(f"(?<=[A-Za-z]){_UNKNOWN}[^{_UNKNOWN}]*{_UNKNOWN}(?=[A-Za-z])")


def _value(values: dict[str, str], name: str) -> str:
    return values.get(name, f"{_UNKNOWN}{name}{_UNKNOWN}")[:MAX_VALUE]


_EXPANSION = re.compile(r"(!?)([A-Za-z_][A-Za-z0-9_]*|[@*0-9])(?:\[[@*0-9]{1,4}\])?(.*)", re.DOTALL)


def _parameter(values: dict[str, str], body: str) -> str:
    """What `${...}` says."""
    match = _EXPANSION.fullmatch(body)
    if match is None:
        return ""
    indirect, name, operation = match.groups()
    if indirect:
        name = values.get(name, name)
    if name in "@*" or name.isdigit():
        return ""
    value = values.get(name)
    if operation[:2] in (":-", ":=") or operation[:1] in ("-", "="):
        return operation.lstrip(":-=") if value is None else value
    if value is None:
        # Cut up, a variable that nobody set is as good as empty.
        return "" if operation and name.islower() else _value(values, name)
    return _part(value, operation)[:MAX_VALUE]


def _part(value: str, operation: str) -> str:
    """The characters that `${name:start:length}` takes; any other operation is left undone."""
    cut = re.fullmatch(r":[ ]?(-?[0-9]{1,6})(?::[ ]?(-?[0-9]{1,6}))?", operation)
    if cut is None:
        return value
    start = int(cut[1])
    rest = value[start:] if start >= 0 else value[max(0, len(value) + start) :]
    return rest if cut[2] is None else rest[: int(cut[2])]


def _braces(word: str) -> Iterator[str]:
    """The words that `{a,b}` makes of one."""
    made = [word]
    for _ in range(3):
        if not any("{" in one for one in made) or len(made) > MAX_WORDS:
            break
        made = [wider for one in made for wider in _brace(one)][:MAX_WORDS]
    yield from made


def _brace(word: str) -> list[str]:
    for match in _BRACE.finditer(word):
        if "," in match[1]:
            head, tail = word[: match.start()], word[match.end() :]
            return [head + choice + tail for choice in match[1].split(",")[:MAX_WORDS]]
    return [word]


_BRACE = re.compile(r"(?<!\$)\{([^{}]{0,4000})\}")
