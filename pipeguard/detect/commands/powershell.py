"""The commands of a text for PowerShell or cmd, with the usual disguises of their names undone.

`DISGUISES` undoes carets and backticks inside words, `$env:NAME`, letters by number, formats, sums
of strings, and variables that a text for PowerShell itself sets. Base64 after `-EncodedCommand` is
not decoded: a rule stops it whatever it contains. Knows no rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from pipeguard.detect.words import arguments, programs
from pipeguard.firewall.lazy_regex import lazy_regex

MAX_LINE = 3000  # characters
MAX_ROUNDS = 6
MAX_TEXT = 200_000  # characters that variables may make of a text

_COMMAND_END = lazy_regex(r"[;\n]|&&|\|\||(?<=\s)&(?=\s)")
_CALL_OPERATOR = lazy_regex(r"(?:^|(?<=\s))[&.](?=\s)")
_QUOTES = lazy_regex(r"['\"(){}@]")
_BARE = str.maketrans("'\"(){}@", " " * 7)  # the same, for ASCII, for which it is faster
_CHAR = lazy_regex(r"\[char\]\s{0,4}\(?\s{0,4}(0x[0-9a-f]{1,4}|[0-9]{1,5})\s{0,4}\)?", re.I)
_PLUS = lazy_regex(r"(['\"])\s{0,4}\)?\s{0,4}\+\s{0,4}\(?\s{0,4}\1")
_FORMAT = lazy_regex(
    r"['\"]((?:\{\d{1,2}\}[^'\"{}]{0,40}){1,40})['\"]\s{0,4}-f\s{0,4}"
    r"((?>(?:['\"][^'\"]{0,200}['\"]\s{0,4}+,?+\s{0,4}+){1,40}))",
    re.I,
)
_STRING = lazy_regex(r"'([^']*)'|\"([^\"]*)\"")
_ASSIGNMENT = lazy_regex(r"\$(\w{1,40})\s{0,4}=\s{0,4}(['\"])([^'\"\n]{0,2000})\2")
_VARIABLE = lazy_regex(r"\$\{?(\w{1,40})\b\}?(?!\s{0,4}=)")
_ENVIRONMENT_VARIABLE = lazy_regex(r"\$env:(\w{1,40})", re.I)
_ENVIRONMENT = {
    name: value.replace(r"\x20", " ")
    for name, _, value in (entry.partition("=") for entry in programs.in_order("ENVIRONMENT"))
}


def is_windows(text: str) -> bool:
    """True if something in a text is for PowerShell or cmd."""
    small = text.lower()
    return any(
        word in small and whole.search(small) for word, whole in (*WINDOWS_WORDS, *WINDOWS_SIGNS)
    )


def windows_lines(text: str) -> list[str]:
    """A line `PS command` for each command, without quotes, brackets and the call operator."""
    lines: list[str] = []
    for command in _COMMAND_END.split(_undisguise(text)):
        bare = command.translate(_BARE) if command.isascii() else _QUOTES.sub(" ", command)
        if "&" in bare or "." in bare:
            bare = _CALL_OPERATOR.sub(" ", bare)
        words = " ".join(bare.split())
        if words:
            lines.append(f"PS {words[:MAX_LINE]}")
    return lines


def _undisguise(text: str) -> str:
    for _ in range(MAX_ROUNDS):
        before = text
        for undo in DISGUISES.values():
            text = undo(text)
        if text == before:
            break
    return text


def _of_environment(match: re.Match[str]) -> str:
    return _ENVIRONMENT.get(match[1].lower(), match[0])


def _letter(match: re.Match[str]) -> str:
    number = match[1]
    code = int(number, 16 if number[:2].lower() == "0x" else 10)
    return f"'{chr(code)}'" if 0 < code < 0xD800 else "''"


def _format(match: re.Match[str]) -> str:
    values = [single or double for single, double in _STRING.findall(match[2])]
    text = re.sub(
        r"\{(\d{1,2})\}", lambda m: values[int(m[1])] if int(m[1]) < len(values) else "", match[1]
    )
    return f"'{text}'"


def _with_variables(text: str) -> str:
    """Variables that the text sets, as strings."""
    values = {match[1].lower(): f"'{match[3]}'" for match in _ASSIGNMENT.finditer(text)}
    quoted = _VARIABLE.sub(lambda name: values.get(name[1].lower(), name[0]), text)
    return quoted[:MAX_TEXT] if values else text


def _undo_if(sign: str, undo: Callable[[str], str]) -> Callable[[str], str]:
    """Undo a disguise only in texts with the sign that each such disguise has."""
    return lambda text: undo(text) if sign in text else text


# Each makes a text without one disguise; all are tried again while any changes something.
DISGUISES: dict[str, Callable[[str], str]] = {
    "carets": lambda text: re.sub(r"\^(?=\S)", "", text) if re.search(r"\w\^\w", text) else text,
    "backticks": _undo_if("`", partial(lazy_regex(r"(?<=[\w-])`(?=\w)|`\n").sub, "")),
    "environment": _undo_if("$", partial(_ENVIRONMENT_VARIABLE.sub, _of_environment)),
    "chars": _undo_if("]", partial(_CHAR.sub, _letter)),
    "formats": _undo_if("{", partial(_FORMAT.sub, _format)),
    "sums": _undo_if("+", partial(_PLUS.sub, "")),
    "variables": _undo_if("$", _with_variables),
}


# --- signs ------------------------------------------------------------------------------
# Signs that the arguments of a call do something: commands, statements, paths, PowerShell, cmd.

_WORD = lazy_regex("[a-z-]+(?:32)?")
# Each word with its whole pattern, which begins with fixed letters: `re` finds those fast.
WINDOWS_WORDS = [
    (
        word[0],
        lazy_regex(rf"{re.escape(word[0])}(?<!\w{re.escape(word[0])}){pattern[word.end() :]}"),
    )
    for pattern in programs.in_order("WINDOWS_WORDS")
    if (word := _WORD.match(pattern))
]
_WINDOWS_MARKS = [mark.split(";") for mark in programs.in_order("WINDOWS_MARKS")]
WINDOWS_SIGNS = [(sign, lazy_regex(rest)) for sign, rest in _WINDOWS_MARKS]
_ALL_WINDOWS = (*programs.in_order("WINDOWS_WORDS"), *(rest for _, rest in _WINDOWS_MARKS))
WINDOWS_SIGN = f"(?i:{'|'.join(_ALL_WINDOWS)})"
ACTS_SIGN = f"(?i:{arguments.alternatives('ACTS_SIGNS')})"
