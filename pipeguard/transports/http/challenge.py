"""The challenge of a server with 401 or 403, parsed from `WWW-Authenticate`; knows no flow.

Also the reasons for which an endpoint of PipeGuard refuses requests.
"""

from __future__ import annotations

import re
from typing import NamedTuple

UNAUTHORIZED, FORBIDDEN = 401, 403
REALM = "pipeguard"  # of PipeGuard's own endpoints (RFC 9110, 11.5)
SCOPE_MISSING = "insufficient_scope"  # RFC 6750, 3.1
# What the user of such an endpoint does about a token.
GATEWAY_HINT = "Its tokens:  pipeguard tokens list;\n  a new one:  pipeguard tokens create NAME"
# Reasons for a 403 of such an endpoint. A model reads no other text of a server in our name.
NOT_OUR_NAME = "this server has another name (Host); see --allow-host"
FOREIGN_ORIGIN = "this origin may not speak to this server; see --allow-origin"
ONLY_FOR_PAGE = (
    "this token only opens the page (POST /ui/link); for a client: pipeguard tokens create NAME"
)
LINK_PATH = "/ui/link"
NO_PAGE = (
    "this gateway has no page, as its log explains; on its machine this opens one: pipeguard ui"
)
NO_FIGURES = (
    "only a token without limits may read the figures; such a token: pipeguard tokens create NAME"
)
LIMITED = "this token is limited to some tools, effects or a rate: use /mcp"
READ_ONLY = "the gateway is read-only: use /mcp"
REASONS = frozenset(
    {NOT_OUR_NAME, FOREIGN_ORIGIN, ONLY_FOR_PAGE, NO_FIGURES, LIMITED, READ_ONLY, NO_PAGE}
)
_SAYS = "PipeGuard: "
LIMIT_CHARS = 8192  # of the header; the rest is ignored
_ENDED = re.compile(r"\bended at (\d{4}-\d\d-\d\dT[\d:.]{8,12}Z)")
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2: token
# A scheme begins a challenge; parameters continue it (RFC 9110, 11.3 and 11.6.1).
_PIECE = re.compile(
    rf"[\s,]*(?:(?P<name>{_WORD})[ \t]*=[ \t]*"
    rf'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s",=][^\s",]*(?=[\s,]|$)))'
    rf"|(?P<scheme>{_WORD})(?=[\s,]|$)"
    r"|(?P<token68>[A-Za-z0-9\-._~+/]+=*)(?=[\s,]|$))"
)


class Challenge(NamedTuple):
    """The Bearer challenge of an answer (RFC 6750, 3; RFC 9728, 5.1); "" is absent.

    Attributes:
        schemes: all schemes that the answer offers, in lower case.
        resource_metadata: the URL of the protected resource's metadata.
        scope: the scopes that the server wants, separated by spaces.
        error: the error, as `insufficient_scope`.
        is_gateway: True if the endpoint says that it is PipeGuard's.
        ended: when the token of the request ended, as such an endpoint says.
    """

    schemes: tuple[str, ...] = ()
    resource_metadata: str = ""
    scope: str = ""
    error: str = ""
    is_gateway: bool = False
    ended: str = ""

    @property
    def header(self) -> str:
        """The challenge as a header's value, with these fields and no others."""
        fields = (
            ("realm", REALM if self.is_gateway else ""),
            ("error", self.error),
            ("error_description", f"the token ended at {self.ended}" if self.ended else ""),
            ("scope", self.scope),
            ("resource_metadata", self.resource_metadata),
        )
        parameters = ", ".join(f'{name}="{_plain(value)}"' for name, value in fields if value)
        return f"Bearer {parameters}".rstrip()


def read(www_authenticate: str) -> Challenge:
    """Parse the field's value, or several joined by commas, up to the first syntax error."""
    schemes: list[str] = []
    parameters: dict[str, str] = {}
    at = 0
    text = www_authenticate[:LIMIT_CHARS]
    while piece := _PIECE.match(text, at):
        at = piece.end()
        if piece["scheme"]:
            schemes.append(piece["scheme"].lower())
        elif piece["name"] and schemes and schemes[-1] == "bearer":
            value = piece["plain"] or re.sub(r"\\(.)", r"\1", piece["quoted"] or "")
            parameters.setdefault(piece["name"].lower(), value)
    return Challenge(
        tuple(schemes),
        parameters.get("resource_metadata", ""),
        parameters.get("scope", ""),
        parameters.get("error", ""),
        parameters.get("realm") == REALM,
        find_end(parameters.get("error_description", "")),
    )


def write_reason(reason: str) -> str:
    """The body of a refusal."""
    return f"{_SAYS}{reason}\n"


def read_reason(body: bytes) -> str:
    """The reason in the body of a refusal; empty for another body."""
    text = body.decode("utf-8", "replace").strip()
    return text.removeprefix(_SAYS) if text.startswith(_SAYS) else ""


def find_end(text: str) -> str:
    """Find the moment when a token ended in a sentence that says so, or nothing."""
    found = _ENDED.search(text)
    return found[1] if found else ""


def join(*scopes: str) -> str:
    """All scopes, each once, in their order."""
    return " ".join(dict.fromkeys(scope for text in scopes for scope in text.split()))


def _plain(value: str) -> str:
    """A value without the characters that would end the quotes; no scope or URL has them."""
    return re.sub(r'["\\]|[^ -~]', "", value)
