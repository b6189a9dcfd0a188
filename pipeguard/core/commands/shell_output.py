"""What a pipeline of a shell prints, where the script alone says it. Runs nothing.

Knows the few commands that only print, decode or rewrite what they are given; of all others the
output is what only the machine knows.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, unhexlify
from collections.abc import Callable
from typing import NamedTuple

MAX_VALUE = 16_384  # characters of what is printed or assigned


class ShellCommand(NamedTuple):
    """One command of a pipeline.

    Attributes:
        words: the command's name and arguments.
        redirects: each an operator, as `>`, and a target.
        given: what it reads as its input, where the script says it.
    """

    words: list[str]
    redirects: list[tuple[str, str]]
    given: str | None


Pipeline = list[ShellCommand]


def output(pipeline: Pipeline) -> str | None:
    """What a pipeline prints, where the script says it; None where only the machine knows."""
    value: str | None = None
    for at, command in enumerate(pipeline):
        if not command.words:
            return value if at else None
        given = command.given if command.given is not None else value
        value = _printed(command.words, given)
        if value is None:
            return None
        value = value[:MAX_VALUE]
    return value


def _printed(words: list[str], given: str | None) -> str | None:
    name, rest = words[0].rpartition("/")[2], words[1:]
    reader = PRINTING_PROGRAMS.get(name)
    if reader is None or (given is None and name not in ("echo", "printf")):
        return None
    given = given or ""
    try:
        return reader(rest, given)
    except (ValueError, Base64Error, EOFError, OSError):
        return None


def _echoed(words: list[str], _given: str) -> str:
    options = [word for word in words[:2] if re.fullmatch("-[neE]{1,3}", word)]
    text = " ".join(words[len(options) :])
    return (escapes(text) if any("e" in option for option in options) else text) + "\n"


def _formatted(rest: list[str], _given: str) -> str | None:
    if not rest:
        return None
    rest = rest[1:] if rest[0] == "--" and len(rest) > 1 else rest
    form, values = escapes(rest[0]), list(rest[1:])
    fills = max(1, len(re.findall("%[sbdciqx]", form)))
    text = ""
    for _ in range(min(256, max(1, -(-len(values) // fills)))):
        text += re.sub("%[sbdciqx]", lambda _: escapes(values.pop(0)) if values else "", form)
    return text.replace("%%", "%")


def _from_base64(words: list[str], given: str) -> str | None:
    if not any(re.fullmatch(r"-[a-zA-Z]*[dD][a-zA-Z]*|--decode|-di", word) for word in words):
        return None
    text = re.sub(r"[^A-Za-z0-9+/_-]", "", given).replace("-", "+").replace("_", "/")
    text = text[:-1] if len(text) % 4 == 1 else text
    return a2b_base64(text + "=" * (-len(text) % 4)).decode("latin-1")


def _from_hex(words: list[str], given: str) -> str | None:
    if not any("r" in word for word in words if word.startswith("-")):
        return None
    digits = re.sub(r"[^0-9A-Fa-f]", "", given)
    return unhexlify(digits[: len(digits) // 2 * 2]).decode("latin-1")


def _reversed(_words: list[str], given: str) -> str:
    return "\n".join(line[::-1] for line in given.splitlines()) + "\n"


def _inflated(_words: list[str], given: str) -> str:
    import zlib

    try:
        unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
        return unpacker.decompress(given.encode("latin-1"), MAX_VALUE).decode("latin-1")
    except zlib.error as error:
        raise ValueError("not compressed") from error


def _turned(words: list[str], given: str) -> str | None:
    if len(words) == 2 and words[0] in ("-d", "--delete"):
        return given.translate(dict.fromkeys(map(ord, _ranges(words[1]))))
    if len(words) != 2 or not words[1]:
        return None
    old, new = _ranges(words[0]), _ranges(words[1])
    new = new.ljust(len(old), new[-1:])[: len(old)]
    return given.translate(dict(zip(map(ord, old), new, strict=True)))


def _ranges(text: str) -> str:
    text = text.replace("[:upper:]", "A-Z").replace("[:lower:]", "a-z")
    return re.sub(
        "([A-Za-z0-9])-([A-Za-z0-9])",
        lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))),
        escapes(text),
    )


def _edited(words: list[str], given: str) -> str | None:
    for word in words:
        match = re.fullmatch(r"s(.)(.{0,200}?)\1(.{0,200}?)\1g?", word, re.DOTALL)
        if match:
            return given.replace(match[2].replace("\\", ""), match[3])
    return None


def _decrypted(words: list[str], given: str) -> str | None:
    if "base64" in words or "-base64" in words:
        return _from_base64(words, given) if not any("aes" in word for word in words) else None
    return None


PRINTING_PROGRAMS: dict[str, Callable[[list[str], str], str | None]] = {
    "echo": _echoed,
    "printf": _formatted,
    "base64": _from_base64,
    "openssl": _decrypted,
    "xxd": _from_hex,
    "rev": _reversed,
    "tr": _turned,
    "sed": _edited,
    "cat": lambda _words, given: given,
    "tee": lambda _words, given: given,
    "gunzip": _inflated,
    "zcat": _inflated,
    "gzip": lambda words, given: _inflated(words, given) if "-d" in "".join(words) else None,
}


_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|0?([0-7]{1,3})|(.))",
    re.DOTALL,
)
_LETTERS = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "f": "\f",
    "v": "\v",
}


def escapes(text: str) -> str:
    r"""What `$'...'`, `printf` and `echo -e` make of `\x72`, `\162` and the like."""
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits or match[4]:
        code = int(digits, 16) if digits else int(match[4], 8)
        return chr(code) if 0 < code < 0xD800 else ""
    return _LETTERS.get(match[5], match[5])
