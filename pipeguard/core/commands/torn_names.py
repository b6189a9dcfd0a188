r"""Names of programs that are torn apart by quotes, escapes and empty variables: `w'h'oa\mi`.

A shell reads them as whole names, and so does core.commands.shell_words; to write them so is
suspicious in itself. Knows which names are worth hiding, and not what their programs do.
"""

from __future__ import annotations

from pipeguard.core.commands.programs import INTERPRETERS, name_of
from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.words.programs import TEARABLE

MAX_NAMES = 5  # of one text

_TORN = lazy_regex(
    r"(?:^|[;|&(`\n]|\$\()\s{0,8}(?:sudo\s{1,4})?((?:[A-Za-z0-9_./-]{0,20}(?:''|\"\"|\\[A-Za-z]|'[A-Za-z]{1,6}'"
    r"|\"[A-Za-z]{1,6}\"|\$[@*]|\$\{[A-Za-z@*]{1,8}\}|\$\{[@*]\})){1,20}[A-Za-z0-9_.-]{0,20})(?=[\s;|&)<>`]|\Z)"
)
_TEARS = lazy_regex(r"''|\"\"|['\"\\]|\$\{?[@*]\}?|\$\{[A-Za-z]{1,8}\}")


def torn_name_lines(text: str) -> list[str]:
    """A line `ODD torn NAME` for each name of a program that is written in pieces."""
    if not any(sign in text for sign in "'\"\\$"):
        return []
    lines: list[str] = []
    for match in _TORN.finditer(text):
        word = match[1]
        whole = _TEARS.sub("", word)
        name = name_of(whole)
        is_quoted = word[:1] in "'\"" and word[1:-1] == whole
        if not is_quoted and (name in TEARABLE or INTERPRETERS.match(name)):
            lines.append(f"ODD torn {name}")
    return lines[:MAX_NAMES]
