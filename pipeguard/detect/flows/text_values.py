"""Values in a text: tokens, names, people, addresses. Knows their forms, and no tools."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, repeat

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.commands.argument_usage import parse_json
from pipeguard.detect.flows import overlap
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.matching.confirm import occurs
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.text.encoding import runs
from pipeguard.detect.text.layouts import NATIVE, is_sensitive, text_of_codes
from pipeguard.detect.words import MODEL_FILES, arguments, credentials, word_set
from pipeguard.detect.words import tools as lists
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    walk_strings,
    walk_values,
)
from pipeguard.firewall.protocol.places import FIXED_VALUE_KEYS
from pipeguard.firewall.session.placeholders import PLACEHOLDER
from pipeguard.unicode.name_words import name_words

TOKEN_CHARS = 12  # shorter tokens are in two texts by chance
MOST_CHARS = 256  # of a token; a longer one is several
MIN_NAME_CHARS = 8  # of a name that a text gives to a model
LEAST_SHORT, SHORT_CHARS = 3, 100  # of a short value
MOST_WORDS = 64
ROW_CHARS = 100  # between a person's name and their telephone number
LEAST_DIGEST = 32  # hexadecimal digits
_TELLING = lazy_regex(r"[\d@]")

_PLAIN = lazy_regex(rf"[A-Za-z0-9_-]{{{TOKEN_CHARS},{MOST_CHARS}}}")
# ITU-T E.123, E.164; without the `+`, dates match. Not `1.2+20240102`, nor `U+2165-2168`.
_PHONE = lazy_regex(r"\+(?<![\dU]\+)(?=[ (]?[1-9])(?:[ ()./-]?\d){8,15}\b")
# Not preceded by a word character: checked after the capital, by which `re` finds it faster.
_PERSON = lazy_regex(r"[^\W\d_a-z](?<!\w\w)[^\W\d_A-Z]+(?: [^\W\d_a-z][^\W\d_A-Z]+){1,2}\b")
_FIGURE = lazy_regex(r"(?<![\w.])\d(?:[ ./-]?\d){4,18}(?!\w)")
_MAILBOX_NAME = lazy_regex(r"[\w.+-]{1,64}")  # from right to left
_AT_HOST = lazy_regex(r"@[\w-]{1,63}(?:\.[\w-]{1,63})+")
# RFC 1321, FIPS 180-4.
_DIGEST = lazy_regex(r"\b(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})\b", re.IGNORECASE)
_REST_OF_URL = lazy_regex(r"[^\s\"'<>)\]]{1,8192}")
_ESCAPED = lazy_regex(r"\\{1,4}(?:u([0-9a-fA-F]{4})|(/))|&amp;")
_PERCENT = lazy_regex(r"%([0-7][0-9a-fA-F])")
_SHORT_VALUE = lazy_regex(rf"(?=.{{0,99}}[0-9@#/])\S{{{LEAST_SHORT},{SHORT_CHARS}}}")
_OBEYED_FILES = lazy_regex(MODEL_FILES.encode())
_AMOUNT = lazy_regex(rf"{arguments.alternatives('AMOUNTS')}|\An\Z", re.IGNORECASE)


_IN_RUN = re.sub(rb"[^\w%+-]", b" ", bytes(range(256)))  # a space for all other signs
_IN_DIGEST = bytes(0x61 if chr(code) in "0123456789abcdefABCDEF" else 0x20 for code in range(256))


def tokens(text: str, *, are_telling: bool = False) -> list[str]:
    """Runs of letters and digits, with and without the signs that may be in or before a value.

    Telephone numbers come whole.

    Args:
        text: to be read.
        are_telling: True for those with a digit or an `@`, which two texts do not share by chance.
    """
    return phone_numbers(text) + find_tokens(text, TOKEN_CHARS, is_telling=are_telling)


def find_tokens(
    text: str, least: int, *, has_parts: bool = True, is_telling: bool = False
) -> list[str]:
    """Runs of at least so many letters and digits, as `tokens` finds them."""
    data, form = text.encode("utf-8", "replace"), overlap.native()
    if form is not None:
        found: list[str] = form.find_tokens(data, (least, MOST_CHARS), has_parts, is_telling)
        return found
    found = re.findall(rf"[\w@.+/=-]{{{least},{MOST_CHARS}}}", text, re.ASCII)
    if has_parts:
        found = [part for token in found for part in (token, *_parts(token))]
    return [*filter(_TELLING.search, found)] if is_telling else found


def _parts(token: str) -> Iterator[str]:
    _, equals, value = token.partition("=")
    if equals and len(value) >= TOKEN_CHARS:
        yield value
    yield from (part for part in _PLAIN.findall(token) if part != token)


def names(text: str) -> Iterator[str]:
    """Values that a call names, such as an account, an address or a branch, but not plain words."""
    for name in find_tokens(text, MIN_NAME_CHARS, has_parts=False):
        bare = name.strip(".-/=")
        if len(bare) >= MIN_NAME_CHARS and not bare.isalpha():
            yield bare


def long_words(text: str) -> list[str]:
    """The longer words of a text, in small letters."""
    return list(dict.fromkeys(re.findall(r"[a-z_]{6,40}", text.lower())))[:MOST_WORDS]


def people(text: str) -> set[str]:
    """Names of people, by their form: capitalised words, returned in small letters."""
    return {name.lower() for name in _PERSON.findall(text)}


def longest_run(text: str) -> str:
    """The longest run of the characters of values, which may be part of one."""
    data = text.encode("utf-8", "replace")
    return max(data.translate(_IN_RUN).split(), key=len, default=b"").decode()


def phone_numbers(text: str) -> list[str]:
    """The telephone numbers in a text."""
    return _PHONE.findall(text)


def count_reachable(text: str) -> int:
    """Count the telephone numbers after people's names, each after a different name."""
    rows = _PHONE.split(text)[:-1]
    return sum(_PERSON.search(row[-ROW_CHARS:]) is not None for row in rows)


def mailboxes(text: str) -> set[str]:
    """The mail addresses in a text."""
    found, at = set[str](), 0
    for host in _AT_HOST.finditer(text):
        if name := _MAILBOX_NAME.match(text[max(at, host.start() - 64) : host.start()][::-1]):
            found.add(name[0][::-1] + host[0])
            at = host.end()
    return found


def figures(text: str) -> set[str]:
    """Numbers and dates of at least five digits, as they are written."""
    return set(_FIGURE.findall(text))


def recipients(arguments: JsonValue) -> set[str]:
    """The mail addresses and telephone numbers that a call names as recipients."""
    told = (
        text for key, text in named_strings(arguments) if not lists.TOLD.isdisjoint(name_words(key))
    )
    text = "\n".join(told)
    return {*mailboxes(text), *phone_numbers(text)}


def targets(arguments: JsonValue) -> frozenset[str]:
    """The short values that name the recipient, or the thing written to if mail addresses do."""
    named = arguments if isinstance(arguments, dict) else {}
    recipients, things = (
        {key: named[key] for key in named if not words.isdisjoint(name_words(key))}
        for words in (lists.RECIPIENT, lists.TARGET)
    )
    told = short_values(recipients)
    are_mailboxes = told and all("@" in each and "/" not in each for each in told)
    return short_values(things) if are_mailboxes or not recipients else told


def addresses(text: str) -> list[str]:
    """The web addresses in a text."""
    found, end, at = list[str](), 0, text.find("://")
    while at >= 0:  # `re` would try each letter
        size = 5 if text[max(end, at - 5) : at].casefold() == "https" else 4
        start = at - size
        is_web = start >= end and (size == 5 or text[start:at].casefold() == "http")
        if is_web and (rest := _REST_OF_URL.match(text, at + 3)):
            end = rest.end()
            found.append(text[start:end])
        at = text.find("://", max(end, at + 1))
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


def find_addresses(value: JsonValue) -> list[str]:
    """The web addresses in all strings of a JSON value."""
    data = MessageText(value, keyed=False).data
    if b"://" not in data:
        return []
    if b"\\" in data:  # an address ends with its line, also in a string of JSON
        texts: JsonValue = [parse_json(text) or text for _, text in walk_strings(value)]
        data = MessageText(texts, keyed=False).data
    return addresses(data.decode())


def digests(text: str) -> list[str]:
    """The digests in a text, of the usual lengths: a tool that verifies one repeats it."""
    data = text.encode("utf-8", "replace")
    return _DIGEST.findall(text) if any(runs(data, 0, len(data), _IN_DIGEST, LEAST_DIGEST)) else []


def short_values(value: JsonValue) -> frozenset[str]:
    """The short values in a JSON value: ids, names, addresses; not plain words or amounts."""
    values: set[str] = set()
    _add_short_values("", value, values)
    return frozenset(values)


def _add_short_values(key: str, value: JsonValue, values: set[str]) -> None:
    if type(value) is dict or type(value) is list:
        members = value.items() if type(value) is dict else zip(repeat(""), value, strict=False)
        for name, item in members if not has_amount_name(key) else ():
            if type(item) is not Number or len(item) >= LEAST_SHORT:
                _add_short_values(name, item, values)
    elif type(value) is str or type(value) is Number:
        add_short_value(key, value, values)


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
    return _is_amount(key[:SHORT_CHARS])


def _describe_name(name: str) -> int:
    """Describe a name to `_outline.c`, which asks once for most names."""
    facts = (name in FIXED_VALUE_KEYS, is_sensitive(name), has_amount_name(name))
    return sum(is_so << bit for bit, is_so in enumerate(facts))  # as in `_outline.c`


NAME_READERS = (_describe_name, add_short_value)


@lru_cache(maxsize=1024)
def _is_amount(key: str) -> bool:
    return _AMOUNT.search(key) is not None


def without_credentials(value: JsonValue) -> JsonValue:
    """The arguments without the members that are made for a credential."""
    if isinstance(value, dict):
        kept = [(key, item) for key, item in value.items() if not is_credential_name(key)]
        return {key: without_credentials(item) for key, item in kept}
    return [without_credentials(item) for item in value] if isinstance(value, list) else value


def is_outside(value: str) -> bool:
    """True for a value of a call that names an address, or makes something public."""
    return "public" in value or value.startswith(("http://", "https://"))


# --- secret egress ----------------------------------------------------------------------
# Detects calls that would take away one of a server's secrets, or the placeholder of one.

READ_CHARS = 2**16  # of one string that are read for secrets
LOGIN_CHARS = 64  # before a secret that are read for how it is used
# Before a secret in a line that is run: an option, a header or a variable that logs in with it.
_LOGS_IN = lazy_regex(
    rf"(?:(?:authori[sz]ation|bearer|basic|[\w-]*(?:{credentials.alternatives('BEFORE_VALUE')}))"
    rf"[\s\"']{{0,2}}[:= ]\s?[\"']?(?:(?:{credentials.alternatives('SCHEMES')}) )?"
    r"|(?:-u|--user) ?[\"']?[^\s:]{0,64}:"
    r"|://[^\s/?#@]{0,64})\Z",
    re.IGNORECASE,
)
# A placeholder has brackets, which end an address elsewhere.
_URL_SCHEMES = "https?|ftps?|sftp|scp|tftp|wss?|smb|gopher|mqtts?|smtps?"
_ADDRESS = lazy_regex(
    rf"(?:{_URL_SCHEMES})://(?:{PLACEHOLDER.pattern}|[^\s\"'<>)\]]){{1,8192}}", re.IGNORECASE
)
_OPTION = lazy_regex(r"-[cfgikLnNoOPqsSvIJR46]{1,12}|--[a-z-]{2,40}")
_FILE = lazy_regex(r"[\w./-]{1,200}")
POSTED = lazy_regex(  # by curl, wget and PowerShell
    r"\s(?:-[dF]|--(?:data|form|json|post-data)[a-z-]*|-body)[ =]?"
    r"('[^']*'|\"(?:[^\"\\]|\\.)*\"|[^\s'\"]+)",
    re.IGNORECASE,
)
_FILE_OPTIONS = word_set("-o -O -P --output --output-document")
_AUTHORITY = lazy_regex(r"[^/?#]*")  # RFC 3986, section 3.2
_USERINFO = lazy_regex(r"[^\s/?#@]*@")  # section 3.2.1


def secret_egress(
    vault: Vault, labels: Label, arguments: JsonValue, has_returned: Callable[[str], bool]
) -> Confidence | None:
    """Rate how surely a call takes a secret of the server away; None if none leaves.

    It is sure in text that is sent, in or next to an address, and in a command that talks to a
    network; less so in a credential's own place, as in a header: the address may be the intended
    one. An address that the server gave with the secret in it may be requested again, but not sent
    to anybody.

    Args:
        vault: the server's.
        labels: the tool's abilities.
        arguments: of the call, with placeholders or with secrets.
        has_returned: True if a text came from the server.
    """
    if labels & Label.HOLDS:
        return None
    surest: Confidence | None = None
    strings = named_strings(arguments)
    whole = "\n".join([text for _, text in strings])
    returned = vault.find_secrets(whole)
    if "[secret:" not in whole and not returned:
        return None  # before each string is examined
    secrets = [(key, text, at) for key, text in strings for at in _secrets(vault, returned, text)]
    first = "".join([text for _, text, _ in secrets[:1]])
    has_address = bool(secrets and find_addresses(arguments)) or _ADDRESS.search(first)
    if secrets and not (has_address or labels & (Label.SENDS | Label.OUTSIDE)):
        return _sent_by_command(vault, returned, strings) if labels & Label.RUNS else None
    opened = find_opened(labels, strings) if secrets else frozenset()
    for key, text, start in secrets:
        address = address_around(text, start)
        is_asked = address in opened or not labels & (Label.SENDS | Label.RUNS)
        if address and is_asked and has_returned(vault.restore(address).text):
            continue
        if address:
            return Confidence.HIGH
        before = text[max(0, start - LOGIN_CHARS) : start]
        logs_in = is_credential_name(key) or (labels & Label.RUNS and _LOGS_IN.search(before))
        confidence = Confidence.MEDIUM if logs_in else Confidence.HIGH
        surest = confidence if surest is None else max(confidence, surest)
    return surest


def _sent_by_command(
    vault: Vault, returned: Sequence[str], strings: Sequence[tuple[str, str]]
) -> Confidence | None:
    """Rate how surely a command without a web address sends a secret."""
    # Imported here: few calls are scripts.
    from pipeguard.detect.commands.network_commands import MARK, sends

    scripts = [_mark_secrets(vault, returned, text, MARK) for _, text in strings]
    whole = " ".join(scripts) if len(scripts) > 1 else ""  # a program, and a list of its arguments
    confidences = [sends(script, _LOGS_IN.search) for script in (*scripts, whole)]
    return max((sure for sure in confidences if sure is not None), default=None)


def _mark_secrets(vault: Vault, returned: Sequence[str], text: str, mark: str) -> str:
    """A text with a word in place of each secret of the server."""
    for start in sorted(set(_secrets(vault, returned, text)), reverse=True):
        if placeholder := PLACEHOLDER.match(text, start):
            text = text[:start] + mark + text[placeholder.end() :]
    for secret in sorted((s for s in returned if s in text[:READ_CHARS]), key=len, reverse=True):
        text = text.replace(secret, mark)
    return text


def _secrets(vault: Vault, returned: Sequence[str], text: str) -> Iterator[int]:
    """Find where secrets of the server, or their placeholders, begin."""
    for placeholder in PLACEHOLDER.finditer(text):
        if placeholder[0].startswith("[secret:") and vault.restore(placeholder[0]).restored_count:
            yield placeholder.start()
    for secret in (each for each in returned if each in text[:READ_CHARS]):
        yield from (match.start() for match in re.finditer(re.escape(secret), text))


def address_around(text: str, start: int) -> str:
    """The web address around a secret; empty without one, or if the secret logs in to its host."""
    starts, ends = _find_addresses(text)
    at = bisect_left(starts, start) - 1
    if at < 0 or start >= ends[at]:
        return ""
    before = text[starts[at] : start].partition("//")[2]
    logs_in = _AUTHORITY.fullmatch(before) and _USERINFO.match(text, start)
    return "" if logs_in else text[starts[at] : ends[at]]


@lru_cache(maxsize=2)  # many secrets may be found in one text
def _find_addresses(text: str) -> tuple[array[int], array[int]]:
    """The starts and ends of the web addresses in a text."""
    starts, ends = array("I"), array("I")
    for address in _ADDRESS.finditer(text):
        starts.append(address.start())
        ends.append(address.end())
    return starts, ends


def forget_addresses() -> None:
    """Drop the text in which `address_around` searched: it is a peer's, and may be long."""
    _find_addresses.cache_clear()


def find_opened(labels: Label, strings: Sequence[tuple[str, str]]) -> frozenset[str]:
    """The web addresses that a call only requests, and does not pass on.

    Args:
        labels: the tool's abilities.
        strings: of the call, from `named_strings`.
    """
    if not any("://" in text for _, text in strings):
        return frozenset()
    if any(not lists.TOLD.isdisjoint(name_words(key)) for key, _ in strings):
        return frozenset()
    found = {_opened_address(labels, key, text) for key, text in strings} - {""}
    return frozenset(each for each in found if sum(text.count(each) for _, text in strings) == 1)


def _opened_address(labels: Label, key: str, text: str) -> str:
    """The address that an argument is, or that a command only opens; or empty."""
    address = _ADDRESS.search(text)
    if address is None:
        return ""
    rest = text.replace(address[0], "", 1)
    is_named = not lists.ADDRESS.isdisjoint(word.removesuffix("s") for word in name_words(key))
    is_opened = labels & Label.RUNS and _only_opens(rest)
    return address[0] if is_opened or (is_named and not rest.strip()) else ""


def _only_opens(command: str) -> bool:
    """True for a command, without its address, that only opens it."""
    words = command.replace("'", " ").replace('"', " ").split()
    return not lists.OPENERS.isdisjoint(words[:1]) and all(
        _OPTION.fullmatch(word) or (before in _FILE_OPTIONS and _FILE.fullmatch(word))
        for before, word in pairwise(words)
    )


def names_obeyed_file(data: bytes) -> bool:
    """True if a text names a file that models obey."""
    data = data.lower().replace(b"\\/", b"/").replace(b"\\\\", b"/").replace(b"\\", b"/")
    has_sign = b".md" in data or b"rules" in data or b"/memory/" in data
    return has_sign and occurs(_OBEYED_FILES, data)


def named_strings(value: JsonValue) -> list[tuple[str, str]]:
    """Each string, with the nearest name above it, or a credential's name next to it."""
    form = _list_named_strings if NATIVE is None else NATIVE.named_strings
    return [*form(value, _name_value)]


def _list_named_strings(
    value: JsonValue, name_value: Callable[[JsonObject], str], key: str = ""
) -> Iterator[tuple[str, str]]:
    if type(value) is str:
        yield key, value
    elif type(value) is list:
        for item in value:
            yield from _list_named_strings(item, name_value, key)
    elif type(value) is dict:
        own = name_value(value) if "value" in value else ""
        for name, item in value.items():
            yield from _list_named_strings(item, name_value, own if name == "value" else name)


def _name_value(value: JsonObject) -> str:
    """The name of the member `value`: the name of a credential next to it, or its own."""
    beside = map(value.get, lists.in_order("SECRET_HOLDERS"))
    names = (each for each in beside if isinstance(each, str))
    return next(filter(is_credential_name, names), "value")
