"""Request ids as JSON tokens: `7` and `"7"` are two ids (JSON-RPC 2.0, section 4)."""

import json
from collections.abc import Callable

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number, serialise

MAX_ID_BYTES = 1024  # of an id's token
MAX_ID_DIGITS = 40  # an id is compared by its digits, never as a number

INTEGER = lazy_regex(r"(?a)(?:0|-?[1-9][0-9]*)\Z")  # not `-0`: peers echo it as `0`


def write_id(value: JsonValue) -> str | None:
    """The token of an id or a progress token (`7`, `"a"`); None if it is malformed."""
    if isinstance(value, Number):
        is_integer = len(value) <= MAX_ID_DIGITS and INTEGER.match(value)
        return str(value) if is_integer else None
    if isinstance(value, str) and len(value) <= MAX_ID_BYTES:
        try:
            token = serialise(value)
            return token.decode("utf-8") if len(token) <= MAX_ID_BYTES else None
        except UnicodeEncodeError:  # a lone surrogate: no answer could repeat it
            return None
    return None


def write_answered_id(value: JsonValue) -> str | None:
    """The token of an answer's id; `7.0` is `7`, as JavaScript reads it."""
    if isinstance(value, Number):
        digits, point, fraction = value.partition(".")
        value = Number(digits) if point and fraction and not fraction.strip("0") else value
    return write_id(value)


def spell_answered(token: str) -> tuple[str, ...]:
    """The ids that an answer's id may stand for, itself first: `"7"` may be 7, and 7 `"7"`.

    Both official SDKs correlate so. The first that is open or was cancelled decides.
    """
    is_text = token.startswith('"')
    digits = token[1:-1] if is_text else token
    if len(digits) > MAX_ID_DIGITS or not INTEGER.match(digits):
        return (token,)
    return token, digits if is_text else f'"{digits}"'


def match_answer(token: str, is_open: Callable[[str], bool]) -> str:
    """The id of the open request that an answer's id matches, or the answer's own if none does."""
    if is_open(token):
        return token
    return next(filter(is_open, spell_answered(token)), token)


def read_id(token: str) -> JsonValue:
    """The id or progress token whose token `write_id` returned."""
    if not token.startswith('"'):
        return Number(token)
    text: str = json.loads(token)
    return text


def request_ids(value: JsonValue, *, answered: bool = False) -> list[str]:
    """The id tokens of the requests in a message or a batch, or of those that it answers."""
    tokens = (
        write_id(member.get("id"))
        for member in (value if isinstance(value, list) else [value])
        if isinstance(member, dict) and ("method" in member) is not answered
    )
    return [token for token in tokens if token is not None]
