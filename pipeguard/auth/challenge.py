"""What a server asks for with 401 or 403, read from `WWW-Authenticate`; knows no flow."""

from __future__ import annotations

import re
from typing import NamedTuple

LIMIT_CHARS = 8192  # of the header; beyond it nothing is read
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2: token
# A scheme begins a challenge; a parameter goes on with it (RFC 9110, 11.3 and 11.6.1).
_PIECE = re.compile(
    rf"[\s,]*(?:(?P<name>{_WORD})[ \t]*=[ \t]*"
    rf'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_WORD}(?=[\s,]|$)))'
    rf"|(?P<scheme>{_WORD})(?=[\s,]|$)"
    r"|(?P<token68>[A-Za-z0-9\-._~+/]+=*)(?=[\s,]|$))"
)


class Challenge(NamedTuple):
    """The Bearer challenge of an answer (RFC 6750, 3; RFC 9728, 5.1); "" is absent.

    Attributes:
        schemes: all that the answer offers, in small letters.
        resource_metadata: where the protected resource's metadata is.
        scope: what the server wants, separated by spaces.
        error: as `insufficient_scope`.
    """

    schemes: tuple[str, ...] = ()
    resource_metadata: str = ""
    scope: str = ""
    error: str = ""

    @property
    def header(self) -> str:
        """The challenge written again, with what is known of it and nothing else."""
        fields = (
            ("error", self.error),
            ("scope", self.scope),
            ("resource_metadata", self.resource_metadata),
        )
        told = ", ".join(f'{name}="{_plain(value)}"' for name, value in fields if value)
        return f"Bearer {told}".rstrip()


def read(www_authenticate: str) -> Challenge:
    """Read the field's value, several joined by a comma; what is no challenge ends it."""
    schemes: list[str] = []
    found: dict[str, str] = {}
    at = 0
    text = www_authenticate[:LIMIT_CHARS]
    while piece := _PIECE.match(text, at):
        at = piece.end()
        if piece["scheme"]:
            schemes.append(piece["scheme"].lower())
        elif piece["name"] and schemes and schemes[-1] == "bearer":
            value = piece["plain"] or re.sub(r"\\(.)", r"\1", piece["quoted"] or "")
            found.setdefault(piece["name"].lower(), value)
    return Challenge(
        tuple(schemes),
        found.get("resource_metadata", ""),
        found.get("scope", ""),
        found.get("error", ""),
    )


def joined(*scopes: str) -> str:
    """All scopes once each, in the order in which they come."""
    return " ".join(dict.fromkeys(scope for text in scopes for scope in text.split()))


def _plain(value: str) -> str:
    """Without what would end the quotes: no scope and no URL holds it."""
    return re.sub(r'["\\]|[^ -~]', "", value)
