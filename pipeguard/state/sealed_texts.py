"""The texts of messages in an audit's findings, sealed in the store that replicas share.

A row keeps the part of a message that a person decides about. Rules, names and actions stay in
clear, so that rows can be searched.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeguard.errors import InputError
from pipeguard.firewall.finding import SHOWN
from pipeguard.state.shared import shared_address, shared_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXTS = frozenset(("excerpt", "steps", *SHOWN))
_SEALED = "sealed"


def write_findings(findings: Iterable[dict[str, str]]) -> str:
    """Findings as JSON, with their texts sealed if replicas share the store.

    Raises:
        InputError: the keys of the shared store cannot be read.
    """
    written = map(_seal_texts, findings) if shared_address() else findings
    return json.dumps([*written], separators=(",", ":"))


def _seal_texts(finding: dict[str, str]) -> dict[str, str]:
    texts = {key: text for key, text in finding.items() if key in _TEXTS and text}
    if not texts:
        return finding
    sealed = shared_keys().seal(json.dumps(texts).encode(), _SEALED.encode())
    rest = {key: text for key, text in finding.items() if key not in texts}
    return {**rest, _SEALED: base64.b64encode(sealed).decode()}


def open_texts(finding: dict[str, str]) -> dict[str, str]:
    """A finding with its texts; without them, if this process does not have the keys."""
    if _SEALED not in finding:
        return finding
    texts = None
    with suppress(InputError, ValueError):
        sealed = base64.b64decode(finding[_SEALED])
        texts = shared_keys().open(sealed, _SEALED.encode())
    rest = {key: text for key, text in finding.items() if key != _SEALED}
    return {"excerpt": "", **rest, **json.loads(texts or "{}")}
