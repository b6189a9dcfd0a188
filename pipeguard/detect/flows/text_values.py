"""Values in a text: tokens, names, addresses. Knows their forms, and no tools."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.commands.notations import parse_json
from pipeguard.detect.flows import overlap
from pipeguard.detect.matching.confirm import find_signed, occurs
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.text.layouts import NATIVE, is_sensitive, text_of_codes
from pipeguard.detect.words import MODEL_FILES, arguments
from pipeguard.detect.words import tools as lists
from pipeguard.errors import Refusal
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import strict_json
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_object,
    walk_strings,
    walk_values,
)
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS, get_value
from pipeguard.unicode.name_words import name_words

NamedStrings = Sequence[tuple[str, str]]  # each with the nearest name

TOKEN_CHARS = 12  # shorter tokens are in two texts by chance
MOST_CHARS = 256  # of a token; a longer one is several
MIN_NAME_CHARS = 8  # of a name that a text gives to a model
LEAST_SHORT = 3  # characters of a short value,
SHORT_CHARS = 100  # and at most
MOST_WORDS = 64
_TELLING = lazy_regex(r"[\d@]")

_PLAIN = lazy_regex(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS},{MOST_CHARS}}}")
# ITU-T E.123, E.164; without the `+`, dates match. Not `1.2+20240102`, nor `U+2165-2168`.
_PHONE = lazy_regex(r"\+(?<![\dU]\+)(?=[ (]?[1-9])(?:[ ()./-]?\d){8,15}\b")
_MAILBOX_NAME = lazy_regex(r"[\w.+-]{1,64}")  # from right to left
_AT_HOST = lazy_regex(r"@[\w-]{1,63}(?:\.[\w-]{1,63})+")
# RFC 1321, FIPS 180-4.
_DIGEST = lazy_regex(r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\b", re.IGNORECASE)
# Begins with a sign, which `re` finds faster than a letter.
_REST_OF_URL = lazy_regex(r"(?i)://(?:(?<=https://)|(?<=http://))[^\s\"'<>)\]]{1,8192}")
_ESCAPED = lazy_regex(r"\\{1,4}(?:u([0-9a-fA-F]{4})|(/))|&amp;")
_PERCENT = lazy_regex(r"%([0-7][0-9a-fA-F])")
_SHORT_VALUE = lazy_regex(rf"(?=.{{0,99}}[0-9@#/])\S{{{LEAST_SHORT},{SHORT_CHARS}}}")
_OBEYED_FILES = lazy_regex(MODEL_FILES.encode())
_AMOUNT = lazy_regex(rf"(?i){arguments.alternatives('AMOUNTS')}|\An\Z")


def list_tokens(text: str) -> list[str]:
    """Runs of letters and digits that two texts do not share by chance: with a digit or an `@`.

    With and without the signs that may be in or before a value. Telephone numbers come whole.
    """
    return find_phone_numbers(text) + find_tokens(text, TOKEN_CHARS, is_telling=True)


def find_tokens(
    text: str, least: int, *, has_parts: bool = True, is_telling: bool = False
) -> list[str]:
    """Runs of at least so many letters and digits, as `tokens` finds them."""
    data = text.encode("utf-8", "replace")
    form = overlap.native()
    if form is not None:
        found: list[str] = form.find_tokens(data, (least, MOST_CHARS), has_parts, is_telling)
        return found
    found = re.findall(rf"[\w@.+/=-]{{{least},{MOST_CHARS}}}", text, re.ASCII)
    if has_parts:
        found = [part for token in found for part in (token, *_split_token(token))]
    return [*filter(_TELLING.search, found)] if is_telling else found


def _split_token(token: str) -> Iterator[str]:
    _, equals, value = token.partition("=")
    if equals and len(value) >= TOKEN_CHARS:
        yield value
    yield from (part for part in _PLAIN.findall(token) if part != token)


def list_names(text: str) -> Iterator[str]:
    """Values that a call names, such as an account, an address or a branch, but not plain words."""
    for name in find_tokens(text, MIN_NAME_CHARS, has_parts=False):
        bare = name.strip(".-/=")
        if len(bare) >= MIN_NAME_CHARS and not bare.isalpha():
            yield bare


def list_long_words(text: str) -> list[str]:
    """The longer words of a text, in small letters."""
    return list(dict.fromkeys(re.findall(r"[a-z_]{6,40}", text.lower())))[:MOST_WORDS]


def find_phone_numbers(text: str) -> list[str]:
    """The telephone numbers in a text."""
    return _PHONE.findall(text)


def find_mailboxes(text: str) -> set[str]:
    """The mail addresses in a text."""
    found = set()
    at = 0
    for host in _AT_HOST.finditer(text):
        if name := _MAILBOX_NAME.match(text[max(at, host.start() - 64) : host.start()][::-1]):
            found.add(name[0][::-1] + host[0])
            at = host.end()
    return found


def find_recipients(arguments: JsonValue) -> set[str]:
    """The mail addresses and telephone numbers that a call names as recipients."""
    strings = list_named_strings(arguments)
    text = "\n".join(text for key, text in strings if names_recipient(key))
    return {*find_mailboxes(text), *find_phone_numbers(text)}


def names_recipient(key: str) -> bool:
    """True for the name of an argument that says to whom something goes."""
    return not lists.TOLD.isdisjoint(name_words(key))


def find_targets(arguments: JsonValue) -> frozenset[str]:
    """The short values that name the recipient, or the thing written to if mail addresses do."""
    recipients = {}
    things = {}
    members = arguments.items() if isinstance(arguments, dict) else ()
    for key, value in members:
        words = name_words(key)
        if not lists.RECIPIENT.isdisjoint(words):
            recipients[key] = value
        if not lists.TARGET.isdisjoint(words):
            things[key] = value
    told = list_short_values(recipients)
    are_mailboxes = told and all("@" in each and "/" not in each for each in told)
    return list_short_values(things) if are_mailboxes or not recipients else told


def find_urls(text: str) -> list[str]:
    """The web addresses in a text."""
    found = []
    for match in _REST_OF_URL.finditer(text):
        size = 4 if text[match.start() - 1] in "pP" else 5
        found.append(text[match.start() - size : match.end()])
    return found


def unescape(text: str) -> str:
    """A text with the escapes of JSON and HTML undone in addresses and words."""
    return _ESCAPED.sub(lambda sign: chr(int(sign[1], 16)) if sign[1] else sign[2] or "&", text)


def decode_percent(text: str) -> str:
    """A text with `%3A` and the like decoded, for ASCII only (RFC 3986, section 2.1)."""
    return _PERCENT.sub(lambda code: chr(int(code[1], 16)), text)


def join_sent(value: JsonValue) -> bytes:
    """The strings of a call's arguments, and the texts that are lists of numbers in them."""
    containers = (each for _, each in walk_values(value) if not isinstance(each, str))
    texts = [each.encode("utf-8", "replace") for each in map(text_of_codes, containers) if each]
    return b"\n".join((MessageText(value, keyed=False).data, *dict.fromkeys(texts)))


def read_json(text: bytes) -> JsonValue:
    """The value of a text in JSON; null if it is none, or has a key twice in an object."""
    try:
        return strict_json.parse_json(text)
    except Refusal:
        return None


def find_addresses(value: JsonValue) -> list[str]:
    """The web addresses in all strings of a JSON value."""
    data = MessageText(value, keyed=False).data
    if b"://" not in data:
        return []
    if b"\\" in data:  # an address ends with its line, also in a string of JSON
        texts: JsonValue = [parse_json(text) or text for _, text in walk_strings(value)]
        data = MessageText(texts, keyed=False).data
    return find_urls(data.decode())


def find_digests(text: str) -> list[str]:
    """The digests in a text, of the usual lengths: a tool that verifies one repeats it."""
    return [match[0] for match in find_signed(_DIGEST, "[0-9a-f]{32}", text)]


_MARK = lazy_regex(rb'ui["/]')


def is_posted(frame: bytes) -> bool:
    """True if a client marks a call as posted by a page of the server (MCP Apps).

    The specification has no such mark: `io.modelcontextprotocol/ui` or `ui`, alone or before a
    slash, is a key of the `_meta` of the call.
    """
    if not _MARK.search(frame):
        return False
    meta = get_value(strict_json.parse_json(frame), ("params", "_meta"))
    keys = (key.removeprefix("io.modelcontextprotocol/") for key in as_object(meta))
    return any(key.partition("/")[0] == "ui" for key in keys)


def list_short_values(value: JsonValue) -> frozenset[str]:
    """The short values in a JSON value: ids, names, addresses; not plain words or amounts."""
    values: set[str] = set()
    _add_short_values("", value, values)
    return frozenset(values)


def _add_short_values(key: str, value: JsonValue, values: set[str]) -> None:
    if type(value) is str or type(value) is Number:
        add_short_value(key, value, values)
        return
    members: Iterable[tuple[str, JsonValue]] = ()
    if type(value) is dict:
        members = value.items()
    elif type(value) is list:
        members = zip(repeat(""), value, strict=False)
    if has_amount_name(key):
        return
    for name, item in members:
        if type(item) is not Number or len(item) >= LEAST_SHORT:
            _add_short_values(name, item, values)


def add_short_value(key: str, value: str, values: set[str]) -> None:
    """Add the short value of a string with this name, if it has one."""
    text = str(value).strip()
    if len(text) > SHORT_CHARS or " " in text or text.isalpha():  # mostly prose
        return
    text = text.lower()  # small letters are no fewer
    if _SHORT_VALUE.fullmatch(text) and not has_amount_name(key):
        values.add(text)


def has_amount_name(key: str) -> bool:
    """True for the name of an amount, such as a limit or a size."""
    return _AMOUNT.search(key[:SHORT_CHARS]) is not None


def _describe_name(name: str) -> int:
    """Describe a name to `_outline.c`, which asks once for most names."""
    facts = name in FIXED_VALUE_KEYS, is_sensitive(name), has_amount_name(name)
    return sum(is_so << bit for bit, is_so in enumerate(facts))  # as in `_outline.c`


NAME_READERS = _describe_name, add_short_value


def without_credentials(value: JsonValue) -> JsonValue:
    """The arguments without the members that are made for a credential."""
    if isinstance(value, dict):
        kept = [(key, item) for key, item in value.items() if not is_credential_name(key)]
        return {key: without_credentials(item) for key, item in kept}
    return [without_credentials(item) for item in value] if isinstance(value, list) else value


def is_outside(value: str) -> bool:
    """True for a value of a call that names an address, or makes something public."""
    return "public" in value or value.startswith(("http://", "https://"))


def names_obeyed_file(data: bytes) -> bool:
    """True if a text names a file that models obey."""
    data = data.lower().replace(b"\\/", b"/").replace(b"\\\\", b"/").replace(b"\\", b"/")
    has_sign = b".md" in data or b"rules" in data or b"/memory/" in data
    return has_sign and occurs(_OBEYED_FILES, data)


def list_named_strings(value: JsonValue) -> list[tuple[str, str]]:
    """Each string, with the nearest name above it, or a credential's name next to it."""
    form = _walk_named_strings if NATIVE is None else NATIVE.named_strings
    return [*form(value, _name_value)]


def _walk_named_strings(
    value: JsonValue, name_value: Callable[[JsonObject], str], key: str = ""
) -> Iterator[tuple[str, str]]:
    if type(value) is str:
        yield key, value
    elif type(value) is list:
        for item in value:
            yield from _walk_named_strings(item, name_value, key)
    elif type(value) is dict:
        own = name_value(value) if "value" in value else ""
        for name, item in value.items():
            yield from _walk_named_strings(item, name_value, own if name == "value" else name)


def _name_value(value: JsonObject) -> str:
    """The name of the member `value`: the name of a credential next to it, or its own."""
    beside = map(value.get, lists.in_order("SECRET_HOLDERS"))
    names = (each for each in beside if isinstance(each, str))
    return next(filter(is_credential_name, names), "value")
