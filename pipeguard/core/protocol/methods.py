"""Which methods the protocol has, in all of its revisions, and what only looks like one of them."""

from __future__ import annotations

import re

from pipeguard.core.protocol import codes
from pipeguard.core.protocol.frame_outline import folded_name
from pipeguard.core.protocol.message import Message
from pipeguard.core.protocol.places import LISTS, OPENINGS, PLACES
from pipeguard.errors import Refusal

_WITH_PLACES = frozenset(method for _, method in PLACES)
_WITHOUT = frozenset(
    {
        *("ping", "logging/setLevel", "roots/list", "subscriptions/listen"),
        *(f"tasks/{verb}" for verb in ("get", "result", "list", "cancel", "update")),
        *(f"notifications/{kind}" for kind in ("initialized", "cancelled", "resources/updated")),
        *(
            f"notifications/{kind}/list_changed"
            for kind in ("tools", "prompts", "resources", "roots")
        ),
        *("notifications/elicitation/complete", "notifications/subscriptions/acknowledged"),
    }
)
KNOWN = _WITH_PLACES | _WITHOUT | LISTS.keys() | OPENINGS
_NO_LETTERS = re.compile(r"[^a-z]+")
_LETTERS = frozenset(_NO_LETTERS.sub("", method.casefold()) for method in KNOWN)


def check_method(message: Message) -> None:
    """Refuse a method that only looks like one of the protocol; what nobody knows passes.

    There are peers that compare loosely, or find a method as a web server finds a path
    (`tools//call`, `tools.call`); what is judged goes by the exact method.

    Raises:
        Refusal: with -32600.
    """
    method = message.method or ""
    if method in KNOWN:
        return
    path = re.split("[?#;]", folded_name(method).replace("%2f", "/"), maxsplit=1)[0]
    if _NO_LETTERS.sub("", path) in _LETTERS:
        raise Refusal(
            "protocol.method-look-alike",
            "the method differs from one of the protocol in how it is spelt only",
            codes.INVALID_REQUEST,
            message.id_token,
        )
