"""Lines for PowerShell and cmd without the tricks that hide their words.

What is taken away: carets and backticks inside of words, strings that are put together, letters
by their number, variables that the line itself sets, base64 of UTF-16. Knows no rules.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from functools import partial

from pipeguard.core.commands.signs import WINDOWS_SIGNS, WINDOWS_WORDS

MAX_LINE = 3000  # characters
MAX_ROUNDS = 6
MAX_TEXT = 200_000  # characters that variables may make of a text

_ENCODED = re.compile(
    r"(?:^|\s)[-/–]e(?:n?c?|nco?d?e?d?c?o?m?m?a?n?d?)\s{1,4}['\"]?([A-Za-z0-9+/=]{16,})",
    re.IGNORECASE,
)
_FROM_BASE64 = re.compile(r"frombase64string\s{0,4}\(\s{0,4}['\"]([A-Za-z0-9+/=]{8,})", re.I)
_CHAR = re.compile(r"\[char\]\s{0,4}\(?\s{0,4}(0x[0-9a-f]{1,4}|[0-9]{1,5})\s{0,4}\)?", re.I)
_CHARS = re.compile(
    r"\[char\[\]\]\s{0,4}\(?@?\(?\s{0,4}((?:0x[0-9a-f]{1,4}|[0-9]{1,5})"
    r"(?:\s{0,4},\s{0,4}(?:0x[0-9a-f]{1,4}|[0-9]{1,5}))+)\)?\)?",
    re.I,
)
_PLUS = re.compile(r"(['\"])\s{0,4}\)?\s{0,4}\+\s{0,4}\(?\s{0,4}\1")
_FORM = re.compile(r"['\"]((?:\{\d{1,2}\}[^'\"{}]{0,40}){1,40})['\"]\s{0,4}-f\s{0,4}"
                   r"((?:['\"][^'\"]{0,200}['\"]\s{0,4},?\s{0,4}){1,40})", re.I)  # fmt: skip
_JOIN = re.compile(r"-join\s{0,4}\(?\s{0,4}((?:['\"][^'\"]{1,200}['\"]\s{0,4},?\s{0,4}){2,400})|"
                   r"\(((?:['\"][^'\"]{1,200}['\"]\s{0,4},?\s{0,4}){2,400})\)\s{0,4}-join\s{0,4}['\"]{2}",
                   re.I)  # fmt: skip
_REPLACE = re.compile(
    r"['\"]([^'\"]{1,2000})['\"]\s{0,4}(?:\.replace\s{0,4}\(\s{0,4}|-c?replace\s{0,4})"
    r"['\"]([^'\"]{1,40})['\"]\s{0,4},\s{0,4}['\"]([^'\"]{0,40})['\"]\)?",
    re.I,
)
_BACKWARDS = re.compile(r"['\"]([^'\"]{2,2000})['\"]\s{0,4}\[\s{0,4}-1\s{0,4}\.\.", re.I)
_SETS = re.compile(r"\$(\w{1,40})\s{0,4}=\s{0,4}(['\"])([^'\"\n]{0,2000})\2")
_USES = re.compile(r"\$\{?(\w{1,40})\b\}?(?!\s{0,4}=)")
_CMD_SETS = re.compile(r"\bset\s{1,4}\"?(\w{1,40})=([^&|\n\"]{0,400})", re.I)
_KNOWN_LETTERS = re.compile(
    r"\$(?:env:comspec|pshome|shellid|verbosepreference\.tostring\(\))\s{0,4}\[[^\]]{1,40}\]"
    r"(?:\s{0,4}\+\s{0,4}(?:\$(?:env:comspec|pshome|shellid)\s{0,4}\[[^\]]{1,40}\]|['\"]x['\"])){0,3}"
    r"(?:\s{0,4}-join\s{0,4}['\"]{2})?",
    re.I,
)
_ENV = {
    "systemroot": "C:\\Windows", "windir": "C:\\Windows", "systemdrive": "C:", "homedrive": "C:",
    "comspec": "C:\\Windows\\System32\\cmd.exe", "userprofile": "~", "homepath": "~", "home": "~",
    "appdata": "~\\AppData\\Roaming", "localappdata": "~\\AppData\\Local", "temp": "C:\\Temp",
    "programdata": "C:\\ProgramData", "programfiles": "C:\\Program Files",
}  # fmt: skip


def is_windows(text: str) -> bool:
    """True where something in a text is for PowerShell or cmd."""
    small = text.lower()
    return any(
        word in small and whole.search(small) for word, whole in (*WINDOWS_WORDS, *WINDOWS_SIGNS)
    )


def windows_lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line, `PS` before it; with it a script for `cmd /c`, or nothing."""
    for encoded in [*_ENCODED.finditer(text), *_FROM_BASE64.finditer(text)]:
        inner = _decoded(encoded[1])
        if inner:
            yield from windows_lines(inner)
    plain = _untangled(text)
    for part in re.split(r"[;\n]|&&|\|\||(?<=\s)&(?=\s)", plain):
        bare = re.sub(r"['\"(){}@]", " ", part)
        words = " ".join(re.sub(r"(?:^|(?<=\s))[&.](?=\s)", " ", bare).split())
        if words:
            yield f"PS {words[:MAX_LINE]}", ""


def _untangled(text: str) -> str:
    for _ in range(MAX_ROUNDS):
        before = text
        for undo in DISGUISES.values():
            text = undo(text)
        if text == before:
            break
    return text


def _variables(text: str) -> str:
    values = {match[1].lower(): match[3] for match in _SETS.finditer(text)}
    return _USES.sub(partial(_used, values=values), text)[:MAX_TEXT] if values else text


def _used(match: re.Match[str], values: dict[str, str]) -> str:
    """A variable that the line sets, as the string that it holds."""
    value = values.get(match[1].lower())
    return match[0] if value is None else f"'{value}'"


def _substituted(text: str) -> str:
    """The variables of cmd, and parts of them, as `%COMSPEC:~0,1%`."""
    values = dict(_ENV)
    for match in _CMD_SETS.finditer(text):
        values[match[1].lower()] = match[2].strip()

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1].lower())
        if found is None:
            return match[0]
        if match[2] is None:
            return found
        start = int(match[2])
        rest = found[start:]
        return rest if match[3] is None else rest[: int(match[3])]

    text = re.sub(r"%(\w{1,40})(?::~(-?\d{1,3})(?:,(-?\d{1,3}))?)?%", value, text)
    return re.sub(r"\$env:(\w{1,40})", lambda m: _ENV.get(m[1].lower(), m[0]), text, flags=re.I)


def _char(number: str) -> str:
    code = int(number, 0) if number[:2].lower() == "0x" else int(number or "0")
    return chr(code) if 0 < code < 0xD800 else ""


def _strings(text: str) -> list[str]:
    return [one or two for one, two in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)]


def _formed(match: re.Match[str]) -> str:
    values = _strings(match[2])
    text = re.sub(
        r"\{(\d{1,2})\}", lambda m: values[int(m[1])] if int(m[1]) < len(values) else "", match[1]
    )
    return f"'{text}'"


def _decoded(text: str) -> str:
    text = text.rstrip("=")
    text = text[:-1] if len(text) % 4 == 1 else text
    try:
        raw = a2b_base64(text + "=" * (-len(text) % 4))
    except Base64Error:
        return ""
    if raw[1:2] == b"\0" or b"\0" in raw:
        return raw[: len(raw) // 2 * 2].decode("utf-16-le", "replace")
    return raw.decode("utf-8", "replace")


DISGUISES: dict[str, Callable[[str], str]] = {
    "carets": lambda text: re.sub(r"\^(?=[^\s])", "", text) if re.search(r"\w\^\w", text) else text,
    "backticks": partial(re.compile(r"(?<=[\w-])`(?=\w)|`\n").sub, ""),
    "environment": lambda text: _CMD_SETS.sub(" ", _substituted(text)),
    "char-arrays": partial(
        _CHARS.sub, lambda m: "'" + "".join(map(_char, re.split(r"[\s,]+", m[1]))) + "'"
    ),
    "chars": partial(_CHAR.sub, lambda m: f"'{_char(m[1])}'"),
    "letters-of-variables": partial(_KNOWN_LETTERS.sub, "iex"),
    "formats": partial(_FORM.sub, _formed),
    "joins": partial(_JOIN.sub, lambda m: "'" + "".join(_strings(m[1] or m[2])) + "'"),
    "replacements": partial(_REPLACE.sub, lambda m: "'" + m[1].replace(m[2], m[3]) + "'"),
    "reversals": partial(_BACKWARDS.sub, lambda m: f"'{m[1][::-1]}' ["),
    "sums": partial(_PLUS.sub, ""),
    "variables": _variables,
}
