"""New definitions of a server: its words, its claims, and the rules' findings."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

from pipeguard.firewall.protocol.json_values import as_object
from pipeguard.ui.scans import Scans, make_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeguard.state.review import StoredDefinition

KEY_CHARS = 16
# A tool's claims about itself (MCP server/tools, ToolAnnotations); a server may lie.
_CLAIMS = (
    ("readOnlyHint", True, "only reads"),
    ("destructiveHint", True, "may destroy"),
    ("destructiveHint", False, "only adds"),
    ("openWorldHint", True, "reaches the outside"),
)


def make_tick(definition: StoredDefinition) -> str:
    """Make the value of the checkbox of exactly this version of a definition."""
    return sha256("\0".join(make_key(definition)).encode()).hexdigest()[:KEY_CHARS]


def list_offers(definitions: Sequence[StoredDefinition], scans: Scans) -> list[dict[str, object]]:
    """Describe the definitions of one server, those with findings first."""
    offers = [_read(each, scans) for each in definitions]
    return sorted(offers, key=lambda offer: not offer["findings"])


def _read(definition: StoredDefinition, scans: Scans) -> dict[str, object]:
    """Describe a definition: its words, its claims, and the rules' findings so far."""
    pin, key = definition.pin, make_key(definition)
    try:
        value = json.loads(pin.held_definition or "null")
    except ValueError:
        value = None
    fields = as_object(value)
    words, hints = fields.get("description", value), as_object(fields.get("annotations"))
    claims = [claim for hint, wanted, claim in _CLAIMS if hints.get(hint) is wanted]
    if "only reads" in claims:  # then the others mean nothing
        claims = [claim for claim in claims if "destroy" not in claim and "adds" not in claim]
    found = scans.found.get(key)
    return {
        "key": make_tick(definition),
        "kind": pin.kind,
        "name": pin.name,
        "words": words if isinstance(words, str) else "",
        "claims": ", ".join(claims),
        "findings": found,
        "is_clean": found == [],
        "is_scanned": key not in scans.found or found is not None,
        "text": json.dumps(value, ensure_ascii=False, indent=2),
    }
