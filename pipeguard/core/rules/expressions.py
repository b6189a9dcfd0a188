"""The expressions of a pack, which are written in lines and of named parts to be readable.

Knows nothing of rules; core.rules.rule checks the expressions that come out.
"""

from __future__ import annotations

import re
from typing import Any

from pipeguard.core.lazy_regex import lazy_regex
from pipeguard.core.rules.marked_signs import unmarked
from pipeguard.errors import RuleError

FIELDS = ("pattern", "sign", "unless")
_PART = lazy_regex(r"%\{([a-z-]+)\}")
_BLANK = lazy_regex(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]| ", re.DOTALL)
_ANY_BLANK = r"\s{1,8}"


class Expressions:
    """Writes out the expressions of one pack."""

    def __init__(self, source: str, document: dict[str, Any]) -> None:
        r"""Take a pack's document.

        Its `parts` are expressions by name, each of which may use earlier ones as `%{name}`.
        Where `blanks` is `any`, a blank outside brackets means `\s{1,8}`. In a rule without a
        sign, what comes before the part that `sign_before` names is the sign, or else what the
        pattern marks (core.rules.marked_signs).

        Raises:
            RuleError: `parts` is no mapping, or a part uses one that is not before it.
        """
        self._source = source
        self._blanks = document.get("blanks") == "any"
        self._sign_before = f"%{{{document.get('sign_before')}}}"
        self._parts: dict[str, str] = {}
        parts = document.get("parts") or {}
        if not isinstance(parts, dict):
            raise RuleError(f"{source}: `parts` are expressions by their names")
        for name, text in parts.items():
            self._parts[str(name)] = self._expanded(f"part {name}", str(text))

    def written_out(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A rule with its expressions as the engine takes them.

        Raises:
            RuleError: it uses a part that the pack does not have, or marks that make no sign.
        """
        expressions = {field: str(entry[field]) for field in FIELDS if entry.get(field)}
        before, part, _ = expressions.get("pattern", "").partition(self._sign_before)
        if part:
            expressions.setdefault("sign", before)
        where = str(entry.get("id", "?"))
        written = {
            field: self._expanded(where, text) for field, text in expressions.items() if text
        }
        if "pattern" in written:
            try:
                written["pattern"], sign = unmarked(written["pattern"])
            except ValueError as error:
                raise RuleError(f"{self._source}: {where}: {error}") from None
            if sign:
                written.setdefault("sign", sign)
        return entry | written

    def _expanded(self, where: str, text: str) -> str:
        if "\n" in text:
            text = "".join(line.strip() for line in text.splitlines())
        missing = sorted(set(_PART.findall(text)) - set(self._parts))
        if missing:
            raise RuleError(f"{self._source}: {where}: the pack has no part `{missing[0]}`")
        if self._blanks:  # parts have theirs already
            text = _BLANK.sub(lambda match: _ANY_BLANK if match[0] == " " else match[0], text)
        return _PART.sub(lambda match: self._parts[match[1]], text)
