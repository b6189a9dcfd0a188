"""One word of a shell's script after the other, with quotes, escapes and variables undone.

Knows where a word ends, and nothing of commands: an operator, a comment or a redirect ends it.
Source: POSIX.1-2017, volume XCU, sections 2.2 and 2.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pipeguard.core.commands.script_budget import ScriptBudget
from pipeguard.core.commands.shell_output import escapes
from pipeguard.core.commands.word_expansion import brace_words, parameter, variable, without_unset
from pipeguard.core.lazy_regex import lazy_regex

ASSIGNMENT = lazy_regex(r"([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)", re.DOTALL)
MAX_SEPARATORS = 4  # of $IFS

# What is special outside quotes stands for itself inside: there it is another character.
_QUOTED = {ord(plain): chr(0xE000 + at) for at, plain in enumerate("{},*?[]~= \t\n;|&<>")}
_UNQUOTED = {ord(quoted): chr(plain) for plain, quoted in _QUOTED.items()}
_UNSPECIAL = lazy_regex(r"[^\s'\"\\$`;|&()<>#]+|#")
_UNSPECIAL_IN_QUOTES = lazy_regex(r'[^"\\$`]+')
_NAME = lazy_regex(r"[A-Za-z_][A-Za-z0-9_]*")


class WordReader:
    """Reads a script word by word.

    Attributes:
        text: the script.
        at: the index of the next character to read.
    """

    __slots__ = ("_budget", "_substitute", "_values", "at", "text")

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
            values: the variables; looked up anew for each word.
            budget: what reading may cost.
            substitute: gives the output of a script in `$(...)`.
        """
        self.text = text
        self.at = 0
        self._values = values
        self._budget = budget
        self._substitute = substitute

    def words(self) -> list[str]:
        """Read one word; braces and unquoted values may make several of it.

        Where no word begins, one character is skipped.
        """
        start = self.at
        pieces: list[str] = []
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
        for word in brace_words(whole):
            parts = word.split(" ") if ASSIGNMENT.match(word) is None else [word]
            words += (without_unset(part.translate(_UNQUOTED)) for part in parts if part)
        return words

    def _piece(self) -> str | None:
        """Read a part of a word that is quoted in one way; None where the word ends."""
        text, character = self.text, self.text[self.at]
        piece: str | None = None
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
            piece = self._divided(self._dollar())
        elif character == "`":
            piece = self._substitute(self._until("`").replace("\\`", "`"))
        elif text.startswith(("<(", ">("), self.at):
            self.at += 1
            piece = character + self._substitution()
        return piece

    def _divided(self, value: str) -> str:
        """An unquoted value, with a space wherever $IFS has words end."""
        for separator in self._values.get("IFS", "").strip()[:MAX_SEPARATORS]:
            value = value.replace(separator, " ")
        return value

    def _until(self, quote: str) -> str:
        end = self.text.find(quote, self.at + 1)
        end = len(self.text) if end < 0 else end
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return inner

    def _in_double_quotes(self) -> str:
        """Read on to the closing quote and behind it; the opening one is read already."""
        text, size = self.text, len(self.text)
        pieces: list[str] = []
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
        """Read what a `$` begins: a quote, a sum, a substitution or a variable."""
        text, at = self.text, self.at
        following = text[at + 1 : at + 2]
        if following == "'":
            end = _end_of_ansi_quote(text, at + 2)
            self.at = end + 1
            return escapes(text[at + 2 : end]).translate(_QUOTED)
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
            return parameter(self._values, text[at + 2 : end])
        if name := _NAME.match(text, at + 1):
            self.at = name.end()
            return variable(self._values, name[0])
        self.at += 2 if following and following in "@*0123456789?!#-$" else 1
        return "" if following and following in "@*123456789" else "$"

    def _substitution(self) -> str:
        end = _closing(self.text, self.at, "(", ")")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return self._substitute(inner)


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


def _end_of_ansi_quote(text: str, at: int) -> int:
    while at < len(text) and text[at] != "'":
        at += 2 if text[at] == "\\" else 1
    return min(at, len(text))
