"""The keys of a pack beside its rules, and keys that are there twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeguard.errors import RuleError
from pipeguard.unicode.display import suggestion

if TYPE_CHECKING:
    import yaml

_OUTER = ("pack", "about", "defaults", "blanks", "parts", "sign_before", "rules")


def check_outer(document: dict[str, object]) -> None:
    """Check the keys of a pack beside its rules.

    Raises:
        RuleError: one is unknown, missing or has a wrong value.
    """
    for key in map(str, document):
        if key not in _OUTER:
            raise RuleError(f"unknown key `{key}`.{suggestion(key, _OUTER, listed=True)}", key)
    about = document.get("about")
    if not isinstance(about, str) or not about.strip():
        what = "`about` is a text" if "about" in document else "`about` is missing"
        raise RuleError(f"{what}: one sentence on what the pack finds", "about")
    if document.get("blanks") not in (None, "any"):
        raise RuleError(f"blanks: `{document['blanks']}` is not `any`, its only value", "blanks")


def find_repeated(node: yaml.Node | None, *keys: str | int) -> Iterator[RuleError]:
    """Find the repeated keys of a document. YAML itself would silently take the last."""
    values = node.value if node is not None and not isinstance(node.value, str) else []
    lines: dict[str, int] = {}
    for index, value in enumerate(values):
        if not isinstance(value, tuple):
            yield from find_repeated(value, *keys, index)
            continue
        key, child = value
        if not isinstance(key.value, str):
            continue
        if key.value in lines:
            what = f"`{key.value}` is repeated; first in line {lines[key.value]}"
            yield RuleError(what, *keys, key.value)
        lines.setdefault(key.value, key.start_mark.line + 1)
        yield from find_repeated(child, *keys, key.value)
