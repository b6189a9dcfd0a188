"""The placeholder of a secret that was taken out: `[secret:RULE:NUMBER:SIGNATURE]`.

core.flows.vault makes and signs them; rules find nothing in them.
"""

from __future__ import annotations

from pipeguard.core.lazy_regex import lazy_regex

PLACEHOLDER = lazy_regex(r"\[(?:secret|personal):[a-z0-9-]{1,64}:[0-9]{1,9}:[0-9a-f]{16}\]")
PLACEHOLDER_IN_BYTES = lazy_regex(PLACEHOLDER.pattern.encode())
MAX_PLACEHOLDER_BYTES = 110
# In a frame that could hold a placeholder, plain or escaped (RFC 8259, section 7).
MARKS = (b"[secret:", b"[personal:", b"\\u00")


def may_hold_placeholder(frame: bytes) -> bool:
    """False where a frame certainly holds no placeholder."""
    return any(map(frame.__contains__, MARKS))
