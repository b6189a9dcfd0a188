"""The methods of all revisions of the protocol, and names that look like one of them."""

from __future__ import annotations

import re

from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import LISTS, OPENINGS, PLACES
from pipeguard.firewall.protocol.spelling import folded_name

_WITH_PLACES = frozenset(method for _, method in PLACES)
_WITHOUT_PLACES = frozenset(
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
METHODS = _WITH_PLACES | _WITHOUT_PLACES | LISTS.keys() | OPENINGS
# Methods that are never notifications.
REQUESTS_ONLY = frozenset(
    {
        *("tools/call", "tools/list", "prompts/get", "prompts/list"),
        *("resources/read", "resources/list", "resources/templates/list"),
        *("completion/complete", "initialize", "server/discover"),
        *("sampling/createMessage", "elicitation/create", "roots/list"),
    }
)
_NO_LETTERS = lazy_regex(r"[^a-z]+")
_LETTERS = frozenset(_NO_LETTERS.sub("", method.casefold()) for method in METHODS)


def check_method(message: Message) -> None:
    """Refuse a method that differs from a protocol method only in its spelling.

    Some peers compare loosely, or look a method up as a web server looks up a path (`tools//call`,
    `tools.call`), while rules go by the exact method. A method of no revision passes.

    Raises:
        Refusal: the method is a look-alike.
    """
    method = message.method or ""
    if method in METHODS:
        return
    path = re.split("[?#;]", folded_name(method).replace("%2f", "/"), maxsplit=1)[0]
    if _NO_LETTERS.sub("", path) in _LETTERS:
        raise Refusal(
            "protocol.method-look-alike",
            "the method differs from a protocol method only in its spelling",
            codes.INVALID_REQUEST,
            message.id_token,
        )
