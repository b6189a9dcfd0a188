"""Conditions in SQL about rows of the audit: their outcome, their rules, and a person's filter."""

from __future__ import annotations

import re

from pipeguard.firewall.session.remedies import BY_RULE, Way
from pipeguard.state.row_filter import HELD, RowFilter, convert_value
from pipeguard.state.schema import IS_NOTICED

# A damaged row has no findings, so that a search finds the others.
_EACH = "json_each(iif(json_valid(findings), findings, '[]'))"
_ANY_RULE = f"({IS_NOTICED} AND EXISTS (SELECT 1 FROM {_EACH} WHERE {{}}))"  # noqa: S608  a constant
_RULE = "json_extract(value, '$.rule')"
_OTHER = ", ".join(f"'{rule}'" for rule, way in BY_RULE.items() if way is not Way.APPROVE)
# The action of a row, or `HELD` if each rule that blocks it says so (remedies.is_held).
OUTCOME = (
    f"iif(action = 'block' AND (SELECT min({_RULE} GLOB 'trust.*' AND {_RULE} NOT IN ({_OTHER}))"  # noqa: S608  constants
    f" FROM {_EACH} WHERE json_extract(value, '$.action') = 'block'), '{HELD}', action)"
)
_NAMES = " || ' ' || ".join(
    ("server", "client", "method", "tool", "event", "kind", "coalesce(token, '')")
)
HAS_RULE = _ANY_RULE.format(f"{_RULE} = ? OR substr({_RULE}, 1, length(?) + 1) = ? || '.'")
_WOULD = "json_extract(value, '$.would')"
HAS_WOULD = _ANY_RULE.format(f"{_WOULD} IS NOT NULL AND ? IN ({_WOULD}, 'any')")
# Each field with its comparison; every `?` is the value.
_SQL = {
    "server": "(server {like} OR server IN (SELECT server FROM servers WHERE name {like}))",
    "tool": "tool {like}",
    "client": "instr(lower(client), lower(?)) > 0",
    "token": "coalesce(token, '') {like}",
    "verdict": f"{OUTCOME} = ?",
    "rule": HAS_RULE,
    "would": HAS_WOULD,
    "event": "event = ?",
    "kind": "kind {like}",
    "since": "time >= ?",
    "slower": "coalesce(duration_ms, -1) >= ?",
    "larger": "max(frame_bytes, coalesce(request_bytes, 0)) >= ?",
    "": f"instr(lower({_NAMES}), ?) > 0 OR {_ANY_RULE.format(f'instr(lower({_RULE}), ?) > 0')}",
}


def to_condition(where: RowFilter) -> tuple[str, list[str | float]]:
    """The condition of a filter, and its values."""
    conditions = ["TRUE" if where.fits_verdict("allow") else IS_NOTICED]
    given = list[str | float]()
    for term in where.terms:
        choices = []
        for value in term.values:
            has_star = "*" in value and "{like}" in _SQL[term.field]
            text = _SQL[term.field].format(like="GLOB ?" if has_star else "= ?")
            choices.append(f"({text})")
            compared = re.sub(r"[\[?]", r"[\g<0>]", value)
            given += [compared if has_star else convert_value(term.field, value)] * text.count("?")
        conditions.append(f"{'NOT ' * term.is_not}({' OR '.join(choices)})")
    return " AND ".join(conditions), given
