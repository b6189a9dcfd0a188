"""How the expressions of a pack are written, so that they can be read: in lines, of named parts.

Knows nothing of what a rule is; core.rules.rule checks what comes out.
"""

from __future__ import annotations

import re
from typing import Any

from pipeguard.errors import RuleError

FIELDS = ("pattern", "sign", "unless")
_PART = re.compile(r"%\{([a-z-]+)\}")
_BLANK = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]| ", re.DOTALL)
_ANY_BLANK = r"\s{1,8}"


class Expressions:
    """What the expressions of one pack have in common."""

    def __init__(self, source: str, document: dict[str, Any]) -> None:
        r"""Take a pack's document.

        Its `parts` are expressions by name, each of which may use those before it as `%{name}`.
        Where `blanks` is `any`, a blank outside of brackets stands for `\s{1,8}`. What stands
        before the part that `sign_before` names is the sign of a rule that has none.

        Raises:
            RuleError: a part is none, or uses one that does not stand before it.
        """
        self._source = source
        self._blanks = document.get("blanks") == "any"
        self._sign_before = f"%{{{document.get('sign_before')}}}"
        self._parts: dict[str, str] = {}
        parts = document.get("parts") or {}
        if not isinstance(parts, dict):
            raise RuleError(f"{source}: `parts` are expressions by their names")
        for name, text in parts.items():
            self._parts[str(name)] = self._whole(f"part {name}", str(text))

    def written_out(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A rule with its expressions as the engine takes them.

        Raises:
            RuleError: it uses a part that the pack has not.
        """
        told = {field: str(entry[field]) for field in FIELDS if entry.get(field)}
        before, found, _ = told.get("pattern", "").partition(self._sign_before)
        if found:
            told.setdefault("sign", before)
        where = str(entry.get("id", "?"))
        return entry | {field: self._whole(where, text) for field, text in told.items() if text}

    def _whole(self, where: str, text: str) -> str:
        if "\n" in text:
            text = "".join(line.strip() for line in text.splitlines())
        missing = sorted(set(_PART.findall(text)) - set(self._parts))
        if missing:
            raise RuleError(f"{self._source}: {where}: the pack has no part `{missing[0]}`")
        if self._blanks:  # those of parts are written out already
            text = _BLANK.sub(lambda found: _ANY_BLANK if found[0] == " " else found[0], text)
        return _PART.sub(lambda found: self._parts[found[1]], text)
