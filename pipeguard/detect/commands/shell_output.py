"""The output of a shell's pipeline, if the script alone tells it. Runs nothing.

`PRINTING_PROGRAMS` has the few programs that only print, pass on or decode. Only the machine that
runs another program knows its output.
"""

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, unhexlify
from collections.abc import Callable

from pipeguard.detect.commands.shell_command import MAX_VALUE, Pipeline
from pipeguard.firewall.lazy_regex import lazy_regex


def find_output(pipeline: Pipeline) -> str | None:
    """Find a pipeline's output; None if only the machine knows."""
    printed = None
    for at, command in enumerate(pipeline):
        if not command.words:
            return printed if at else None
        stdin = printed if command.stdin is None else command.stdin
        words = command.words[command.words[0] == "{" :]  # which begins a group
        earlier = printed or "" if words and words[0] in _READING_NOTHING else ""
        program = PRINTING_PROGRAMS.get(words[0].rpartition("/")[2]) if words else None
        printed = program(words[1:], stdin) if program else None
        if printed is None:
            return None
        printed = (earlier + printed)[:MAX_VALUE]
    return printed


def _echo(arguments: list[str], _stdin: str | None) -> str:
    options = [word for word in arguments[:2] if re.fullmatch("-[neE]{1,3}", word)]
    text = " ".join(arguments[len(options) :])
    text = expand_escapes(text) if any("e" in option for option in options) else text
    return text if any("n" in option for option in options) else text + "\n"


def _printf(arguments: list[str], _stdin: str | None) -> str | None:
    if arguments[:1] == ["--"] and len(arguments) > 1:
        arguments = arguments[1:]
    if not arguments:
        return None
    form = expand_escapes(arguments[0])
    values = arguments[1:]
    fills = max(1, len(re.findall("%[sbdciqx]", form)))
    text = ""
    for _ in range(min(256, max(1, -(-len(values) // fills)))):
        text += re.sub(
            "%[sbdciqx]", lambda _: expand_escapes(values.pop(0)) if values else "", form
        )
    return text.replace("%%", "%")


def _base64(arguments: list[str], stdin: str | None) -> str | None:
    is_decoding = any(re.fullmatch(r"-[a-zA-Z]*[dD][a-zA-Z]*|--decode", word) for word in arguments)
    if stdin is None or not is_decoding:
        return None
    text = re.sub(r"[^A-Za-z0-9+/_-]", "", stdin).replace("-", "+").replace("_", "/")
    text = text[:-1] if len(text) % 4 == 1 else text
    try:
        return a2b_base64(text + "=" * (-len(text) % 4)).decode("latin-1")
    except Base64Error:
        return None


def _xxd(arguments: list[str], stdin: str | None) -> str | None:
    options = "".join(word for word in arguments if word.startswith("-"))
    if stdin is None or "r" not in options or "p" not in options:
        return None
    digits = re.sub(r"[^0-9A-Fa-f]", "", stdin)
    return unhexlify(digits[: len(digits) // 2 * 2]).decode("latin-1")


def _tr(arguments: list[str], stdin: str | None) -> str | None:
    if stdin is None or len(arguments) != 2 or arguments[0] not in ("-d", "--delete"):
        return None
    return stdin.translate(dict.fromkeys(map(ord, expand_escapes(arguments[1]))))


# By name: the output for arguments and input; None if the script does not determine it.
PRINTING_PROGRAMS: dict[str, Callable[[list[str], str | None], str | None]] = {
    "echo": _echo,
    "printf": _printf,
    "cat": lambda _, stdin: stdin,
    "tee": lambda _, stdin: stdin,
    "rev": lambda _, stdin: stdin and "".join(f"{line[::-1]}\n" for line in stdin.splitlines()),
    "base64": _base64,
    "xxd": _xxd,
    "tr": _tr,
}
_READING_NOTHING = frozenset(("echo", "printf"))  # behind others they are of one group

_ESCAPE = lazy_regex(
    r"(?s)\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|0?([0-7]{1,3})|(.))",
)
_CONTROLS = dict(zip("ntrabefv", "\n\t\r\a\b\x1b\f\v", strict=True))


def expand_escapes(text: str) -> str:
    r"""Expand `\x72`, `\162` and the like, as `$'...'`, `printf` and `echo -e` do."""
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits or match[4]:
        code = int(digits, 16) if digits else int(match[4], 8)
        return chr(code) if 0 < code < 0xD800 else ""
    return _CONTROLS.get(match[5], match[5])
