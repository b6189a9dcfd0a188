"""The expressions of a pack, written in several lines and with named parts to be readable.

Knows nothing of rules; detect.rules.rule checks the expressions that come out.
"""

import re
from collections.abc import Iterator
from typing import Any

from pipeguard.detect.matching.confirm import BRACKETS
from pipeguard.errors import RuleError
from pipeguard.firewall.lazy_regex import lazy_regex

Entry = dict[str, Any]  # a rule in a pack, by its fields

FIELDS = "pattern", "sign", "unless", "doubted"
_PART = lazy_regex(r"%\{([a-z-]+)\}")
_QUOTED = r"\\Q.*?(?:\\E|\Z)|\\.|" + BRACKETS.decode()
_BLANK = lazy_regex(_QUOTED + "| ", re.DOTALL)
_GROUP_NAME = lazy_regex(_QUOTED + r"|\(\?<(?=\w)", re.DOTALL)
_NO_PART = lazy_regex(_QUOTED + r"|%\{(?![a-z-]+\}|[0-9,]+\}).{0,20}", re.DOTALL)


BEGIN, END, BAR = "%<", "%>", "|"
_TOKEN = lazy_regex(
    _QUOTED + r"|\(\?[a-zA-Z-]*\)|\((?:\?(?:P<\w+>|[a-zA-Z-]*:))?"
    r"|\)(?:[?*+]|\{[0-9,]+\})?[?+]?|%[<>]|.",
    re.DOTALL,
)
_OPTIONAL = lazy_regex(r"\)(?:[?*]|\{0?,)")


def strip_marks(pattern: str) -> tuple[str, str]:
    """A pattern without its marks, and the sign that they make; empty if it has none.

    Raises:
        ValueError: a mark is not closed, or is in a group that may be absent.
    """
    if BEGIN not in pattern:
        return pattern, ""
    return _group(match[0] for match in _TOKEN.finditer(pattern))[:2]


def _group(tokens: Iterator[str]) -> tuple[str, str, str]:
    """Read a group: its pattern without marks, its sign if it has one, and its closing bracket.

    The bracket has its quantifier; it is empty at the end of the pattern.
    """
    patterns = []
    signs = []
    end = BAR
    while end == BAR:
        pattern, sign, end = _alternative(tokens)
        patterns.append(pattern)
        signs.append(sign)
    chosen = [sign or whole for sign, whole in zip(signs, patterns, strict=True)]
    return BAR.join(patterns), f"(?:{BAR.join(chosen)})" if any(signs) else "", end


def _alternative(tokens: Iterator[str]) -> tuple[str, str, str]:
    """Read one alternative: its pattern, its sign if it has one, and the token that ends it."""
    pattern = sign = end = ""
    begin = None
    for token in tokens:
        if token == BAR or token.startswith(")"):
            end = token
            break
        if token == BEGIN:
            begin = len(pattern)
        elif token == END and begin is not None:
            sign, begin = pattern[begin:], None
        elif token.startswith("("):
            inner, inner_sign, close = _group(tokens)
            if inner_sign and _OPTIONAL.match(close):
                raise ValueError("a part is marked that may be absent")
            pattern += token + inner + close
            sign = f"{token}{inner_sign})" if inner_sign else sign
        else:
            pattern += token
    if begin is not None:
        raise ValueError(f"`{BEGIN}` has no `{END}` in its alternative")
    return pattern, sign, end


class Expressions:
    """Writes out the expressions of one pack."""

    def __init__(self, document: dict[str, Any]) -> None:
        r"""Take a pack's document.

        Its `parts` are expressions by name, each of which may use earlier ones as `%{name}`.
        If `blanks` is `any`, a blank outside brackets means `\s+`. In a rule without a sign, the
        marked part of the pattern is the sign (`strip_marks`), or else the pattern with any text
        instead of the part that `sign_without` names.

        Raises:
            RuleError: `parts` is not a mapping, or a part uses one that is not before it.
        """
        self._blanks = document.get("blanks") == "any"
        self._omitted = f"%{{{document.get('sign_without')}}}"
        self._parts: dict[str, str] = {}
        parts = document.get("parts") or {}
        if not isinstance(parts, dict):
            raise RuleError("`parts` are expressions by their names", "parts")
        for name, text in parts.items():
            self._parts[str(name)] = self._expand(str(text), "parts", name, where=f"part {name}: ")

    def written_out(self, entry: Entry) -> Entry:
        """A rule with its expressions in the engine's form.

        Raises:
            RuleError: it uses a part that the pack does not have, or marks that make no sign.
        """
        expressions = {field: str(entry[field]) for field in FIELDS if entry.get(field)}
        before, part, after = expressions.get("pattern", "").partition(self._omitted)
        if part and BEGIN not in expressions["pattern"]:
            expressions.setdefault("sign", rf"{before}[\s\S]*{after}")
        written = {field: self._expand(text, field) for field, text in expressions.items()}
        if "pattern" in written:
            try:
                written["pattern"], sign = strip_marks(written["pattern"])
            except ValueError as error:
                raise RuleError(str(error), "pattern") from None
            if sign:
                written.setdefault("sign", sign)
        return entry | written

    def _expand(self, text: str, *keys: str, where: str = "") -> str:
        if "\n" in text:
            text = "".join(line.strip() for line in text.splitlines())
        missing = sorted(set(_PART.findall(text)) - set(self._parts))
        if missing:
            raise RuleError(f"{where}the pack has no part `{missing[0]}`", *keys)
        for match in _NO_PART.finditer(text):
            if match[0].startswith("%{"):
                raise RuleError(f"{where}`{match[0]}` is not a part such as `%{{name}}`", *keys)
        if self._blanks:  # parts have been expanded already
            text = _BLANK.sub(lambda match: r"\s+" if match[0] == " " else match[0], text)
        text = _GROUP_NAME.sub(lambda match: "(?P<" if match[0] == "(?<" else match[0], text)
        return _PART.sub(lambda match: self._parts[match[1]], text)
