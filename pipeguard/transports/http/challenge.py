"""The challenge of a server with 401 or 403, parsed from `WWW-Authenticate`; knows no flow."""

import re
from typing import NamedTuple

UNAUTHORIZED, FORBIDDEN = 401, 403
RESOURCE = "/.well-known/oauth-protected-resource"  # RFC 9728, 3
REALM = "pipeguard"  # of PipeGuard's own endpoints (RFC 9110, 11.5)
SCOPE_MISSING = "insufficient_scope"  # RFC 6750, 3.1
LIMIT_CHARS = 8192  # of the header; the rest is ignored
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
    """

    schemes: tuple[str, ...] = ()
    resource_metadata: str = ""
    scope: str = ""
    error: str = ""
    is_gateway: bool = False

    @property
    def header(self) -> str:
        """The challenge as a header's value, with these fields and no others."""
        fields = (
            ("realm", REALM if self.is_gateway else ""),
            ("error", self.error),
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
    )


def join(*scopes: str) -> str:
    """All scopes, each once, in their order."""
    return " ".join(dict.fromkeys(scope for text in scopes for scope in text.split()))


def _plain(value: str) -> str:
    """A value without the characters that would end the quotes; no scope or URL has them."""
    return re.sub(r'["\\]|[^ -~]', "", value)
