"""Writes an entry of `isolate` into the user's policy file, whose comments and order stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.config.splicing import spliced
from pipeguard.errors import PolicyError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping

WIDEST = 1_000_000  # characters of a line: none is broken


def with_entry(path: str, entry: Mapping[str, object], today: datetime.date) -> str:
    """A policy file's text with one more entry of `isolate`; nothing is written.

    Args:
        path: the user's policy file, which need not exist.
        entry: its fields.
        today: the date.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe place to insert it.
    """
    text = policy_text(path, PolicyScope.USER) if Path(path).exists() else ""
    before = parse_policy(text, path, PolicyScope.USER, now=0.0, today=today)

    def block(indent: str) -> str:
        return entry_lines(entry, indent)

    alone = parse_policy(f"isolate:\n{block('')}", path, PolicyScope.USER, now=0.0, today=today)
    wanted = before._replace(isolate=(*before.isolate, *alone.isolate))
    for changed in spliced(text, "isolate", block, [_flow(entry)]):
        try:
            after = parse_policy(changed, path, PolicyScope.USER, now=0.0, today=today)
        except PolicyError:
            continue
        if after == wanted._replace(notes=after.notes):
            return changed
    raise PolicyError(
        f"{path} is written so that nothing can be inserted safely. Add this to its `isolate`:\n"
        f"{block('  ')}".rstrip()
    )


def entry_lines(entry: Mapping[str, object], indent: str = "") -> str:
    """An entry of a list, a line for each of its fields."""
    lines = [f"{indent}  {name}: {_flow(value)}\n" for name, value in entry.items()]
    lines[0] = f"{indent}- {lines[0].lstrip()}"
    return "".join(lines)


def _flow(value: object) -> str:
    """A value on one line (YAML 1.2, section 7)."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=WIDEST, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")
