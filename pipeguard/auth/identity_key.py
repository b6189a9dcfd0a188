"""The key `identity` of pipeguard.yaml: whose sign-ins are accepted, and the rights of groups.

Knows the file's keys, and verifies no token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeguard.auth.server import canonical
from pipeguard.errors import InputError
from pipeguard.records import NamedTuple
from pipeguard.state.tokens import EFFECTS, TokenScope
from pipeguard.transports.http.challenge import RESOURCE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pipeguard.config.strict_yaml import YamlEntry
    from pipeguard.firewall.protocol.json_values import JsonObject

# Each asymmetric algorithm of RFC 7518, section 3.1, with the type and curve of its keys.
ALGORITHMS: Mapping[str, tuple[str, str]] = {
    **{f"{family}{bits}": ("RSA", "") for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
}
MOST_SUBJECT_CHARS = 255
SUBJECT = "sub:"  # no name of a token has a colon
_MOST_PER_MINUTE = 100_000
_KEYS = ("issuer", "resource", "algorithms", "groups", "clients")
_CLIENT_KEYS = ("group", "effect", "server", "tool", "per_minute")


class GroupAccess(NamedTuple):
    """One entry of `clients`: the rights that a group gives.

    Attributes:
        group: its name, exactly.
        scope: what its members may call.
    """

    group: str
    scope: TokenScope


class Identity(NamedTuple):
    """The settings of `identity`.

    Attributes:
        issuer: its identifier, as tokens name it.
        resource: the audience of tokens: our URL for clients.
        algorithms: of signatures.
        groups: the claim with the names of a subject's groups.
        clients: the entries; a subject may call what any entry of its groups allows.
    """

    issuer: str
    resource: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    groups: str = "groups"
    clients: tuple[GroupAccess, ...] = ()

    @property
    def metadata_url(self) -> str:
        """The URL of the resource's metadata (RFC 9728, section 3.1)."""
        parts = urlsplit(self.resource)
        path = RESOURCE + parts.path.rstrip("/")
        return parts._replace(path=path).geturl()

    @property
    def metadata(self) -> JsonObject:
        """The resource's metadata (RFC 9728, section 2)."""
        return {
            "resource": self.resource,
            "authorization_servers": [self.issuer],
            "bearer_methods_supported": ["header"],
        }

    def filter_groups(self, groups: Collection[str]) -> list[str]:
        """The groups among these that give rights, in order."""
        return sorted({entry.group for entry in self.clients} & set(groups))

    def find_scopes(self, who: str) -> tuple[TokenScope, ...]:
        """The rights of a caller, as `name_caller` names it."""
        _, *groups = who.split("\n")
        return tuple(entry.scope for entry in self.clients if entry.group in groups)


def is_subject(text: str) -> bool:
    """True for a subject's name, as OpenID Connect Core 1.0, section 2, limits it."""
    return 0 < len(text) <= MOST_SUBJECT_CHARS and text.isascii() and text.isprintable()


def name_caller(sub: str, groups: Iterable[str]) -> str:
    """Name a caller: its `sub`, and in further lines the groups that give it rights.

    Two sign-ins of a subject may be in different groups, and neither has the rights of the other.
    The audit and the flows know the subject, which is the first line.
    """
    return "\n".join((f"{SUBJECT}{sub}", *groups))


def find_owner(who: str) -> str:
    """The name of a caller for the audit and the flows: without groups."""
    return who.partition("\n")[0]


def read_identity(entry: YamlEntry) -> Identity:
    """Read the key; note errors at their entries."""
    keys = entry.fields(_KEYS, required=("issuer", "resource", "clients"))
    given = [*map(_read_algorithm, keys["algorithms"].items())] if "algorithms" in keys else []
    if "algorithms" in keys and not given:
        keys["algorithms"].wrong("name at least one algorithm")
    groups = keys["groups"].text() if "groups" in keys else None
    return Identity(
        _read_url(keys.get("issuer"), has_query=False),
        _read_url(keys.get("resource"), has_query=True),
        tuple(given) or Identity("", "").algorithms,
        groups or "groups",
        tuple(map(_read_client, keys["clients"].items() if "clients" in keys else ())),
    )


def _read_algorithm(entry: YamlEntry) -> str:
    return entry.choice({name: name for name in ALGORITHMS}) or ""


def _read_url(entry: YamlEntry | None, *, has_query: bool) -> str:
    text = entry.text() if entry is not None else None
    if entry is None or text is None:
        return ""
    try:
        canonical(text)
    except InputError as error:
        entry.wrong(str(error))
        return text
    parts = urlsplit(text)
    if not parts.scheme.startswith("http") or "#" in text or ("?" in text and not has_query):
        entry.wrong("expected a URL with https, without a fragment or, of an issuer, a query")
    return text


def _read_client(entry: YamlEntry) -> GroupAccess:
    keys = entry.fields(_CLIENT_KEYS, required=("group",))
    texts = {name: keys[name].text() or "" for name in ("group", "server", "tool") if name in keys}
    server, tool = texts.get("server") or "*", texts.get("tool") or "*"
    if tool != "*" and "/" not in tool and "__" not in tool:
        tool = f"{server}/{tool}"  # the name that the tool has on its server
    effect = keys["effect"].choice({name: name for name in EFFECTS}) if "effect" in keys else None
    rate = _read_rate(keys["per_minute"]) if "per_minute" in keys else 0
    scope = TokenScope((server,), (tool,), effect or EFFECTS[-1], rate)
    return GroupAccess(texts.get("group", ""), scope)


def _read_rate(entry: YamlEntry) -> int:
    text = entry.text() or ""
    rate = int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
    if not 1 <= rate <= _MOST_PER_MINUTE:
        entry.wrong(f"give a number from 1 to {_MOST_PER_MINUTE}")
    return rate
