"""Names that differ from a protocol name only in spelling.

Some parsers ignore case (`Name` for `name`: modelcontextprotocol/go-sdk#805) or compare loosely.
Rules and pins go by the exact name, so a look-alike would reach the peer unjudged.
"""

from collections.abc import Callable, Iterable, Mapping

from pipeguard.errors import Refusal
from pipeguard.firewall.protocol import codes, json_values
from pipeguard.unicode.folding import fold


def folded_name(name: str) -> str:
    """A name without case, surrounding blanks and look-alike letters."""
    if name.isascii():
        return name.strip().lower()
    folded, _ = fold(name.encode("utf-8", "replace"))
    return folded.decode("utf-8", "replace").strip().casefold()


def spellings(names: Iterable[str]) -> dict[str, str]:
    """Names by their spelling without case, as `has_look_alike` takes them."""
    return {name.casefold(): name for name in names}


def has_look_alike(
    value: json_values.JsonObject,
    members: Mapping[str, str],
    fold_name: Callable[[str], str] = str.casefold,
) -> bool:
    """True if an object has a member that a lenient parser would read as another.

    Args:
        value: the object.
        members: the protocol's names, as `spellings` returns them.
        fold_name: how the lenient parser reads a name.
    """
    return any([members.get(fold_name(key), key) != key for key in value])  # noqa: C419  faster


def look_alike(where: str, id_token: str | None = None) -> Refusal:
    """The refusal of an object that `has_look_alike`."""
    why = f"a member of {where} differs from a protocol member only in its spelling"
    return Refusal("protocol.key-look-alike", why, codes.INVALID_REQUEST, id_token)


def check_spelling(value: json_values.JsonObject, members: Mapping[str, str], where: str) -> None:
    """Refuse an object that has a member whose name differs from a protocol name only in case.

    Args:
        value: the object.
        members: the protocol's names, as `spellings` returns them.
        where: names the object in the error.

    Raises:
        Refusal: it has one.
    """
    if has_look_alike(value, members):
        raise look_alike(where)
