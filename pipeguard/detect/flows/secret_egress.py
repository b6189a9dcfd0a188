"""Calls that would take away a secret of a server, or its placeholder. Knows no results.

A secret may leave in text that is sent, in or next to an address, or in a command that talks to a
network. An address that a call only opens takes nothing to anybody else.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.flows.text_values import (
    NamedStrings,
    find_addresses,
    list_named_strings,
    names_recipient,
)
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.vault import Vault
from pipeguard.detect.words import credentials, word_set
from pipeguard.detect.words import tools as lists
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.session.placeholders import PLACEHOLDER
from pipeguard.unicode.name_words import name_words

READ_CHARS = 2**16  # of one string that are read for secrets
LOGIN_CHARS = 64  # before a secret that are read for how it is used
# Before a secret in a line that is run: an option, a header or a variable that logs in with it.
_LOGS_IN = lazy_regex(
    rf"(?i)(?:(?:authori[sz]ation|bearer|basic|[\w-]*(?:{credentials.alternatives('BEFORE_VALUE')}))"
    rf"[\s\"']{{0,2}}[:= ]\s?[\"']?(?:(?:{credentials.alternatives('SCHEMES')}) )?"
    r"|(?:-u|--user) ?[\"']?[^\s:]{0,64}:"
    r"|://[^\s/?#@]{0,64})\Z",
)
# A placeholder has brackets, which end an address elsewhere.
_URL_SCHEMES = "https?|ftps?|sftp|scp|tftp|wss?|smb|gopher|mqtts?|smtps?"
_ADDRESS = lazy_regex(
    rf"(?:{_URL_SCHEMES})://(?:{PLACEHOLDER.pattern}|[^\s\"'<>)\]]){{1,8192}}", re.IGNORECASE
)
_OPTION = lazy_regex(r"-[cfgikLnNoOPqsSvIJR46]{1,12}|--[a-z-]{2,40}")
_FILE = lazy_regex(r"[\w./-]{1,200}")
POSTED = lazy_regex(  # by curl, wget and PowerShell
    r"(?i)\s(?:-[dF]|--(?:data|form|json|post-data)[a-z-]*|-body)[ =]?"
    r"('[^']*'|\"(?:[^\"\\]|\\.)*\"|[^\s'\"]+)",
)
_FILE_OPTIONS = word_set("-o -O -P --output --output-document")
_AUTHORITY = lazy_regex(r"[^/?#]*")  # RFC 3986, section 3.2
_USERINFO = lazy_regex(r"[^\s/?#@]*@")  # section 3.2.1


def rate_egress(
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
    strings = list_named_strings(arguments)
    returned = vault.find_secrets("\n".join([text for _, text in strings]))
    secrets = [
        (key, text, at) for key, text in strings for at in _find_secrets(vault, returned, text)
    ]
    if not secrets:
        return None
    if not labels & (Label.SENDS | Label.OUTSIDE):
        has_address = find_addresses(arguments) or _ADDRESS.search(secrets[0][1])
        if not has_address:
            return _rate_command(vault, returned, strings) if labels & Label.RUNS else None
    opened = find_opened(labels, strings)
    surest = None
    for key, text, start in secrets:
        address = find_address_around(text, start)
        if address:
            is_asked = address in opened or not labels & (Label.SENDS | Label.RUNS)
            if is_asked and has_returned(vault.restore(address).text):
                continue
            return Confidence.HIGH
        before = text[max(0, start - LOGIN_CHARS) : start]
        logs_in = is_credential_name(key) or (labels & Label.RUNS and _LOGS_IN.search(before))
        confidence = Confidence.MEDIUM if logs_in else Confidence.HIGH
        surest = confidence if surest is None else max(confidence, surest)
    return surest


def _rate_command(
    vault: Vault, returned: Sequence[str], strings: NamedStrings
) -> Confidence | None:
    """Rate how surely a command without a web address sends a secret."""
    # Imported here: few calls are scripts.
    from pipeguard.detect.commands.network_commands import MARK, rate_sending

    scripts = [_mark_secrets(vault, returned, text, MARK) for _, text in strings]
    whole = " ".join(scripts) if len(scripts) > 1 else ""  # a program, and a list of its arguments
    confidences = [rate_sending(script, _LOGS_IN.search) for script in (*scripts, whole)]
    return max((sure for sure in confidences if sure is not None), default=None)


def _mark_secrets(vault: Vault, returned: Sequence[str], text: str, mark: str) -> str:
    """A text with a word in place of each secret of the server."""
    for start in sorted(set(_find_secrets(vault, returned, text)), reverse=True):
        if placeholder := PLACEHOLDER.match(text, start):
            text = text[:start] + mark + text[placeholder.end() :]
    for secret in sorted((s for s in returned if s in text[:READ_CHARS]), key=len, reverse=True):
        text = text.replace(secret, mark)
    return text


def _find_secrets(vault: Vault, returned: Sequence[str], text: str) -> Iterator[int]:
    """Find where secrets of the server, or their placeholders, begin."""
    for placeholder in PLACEHOLDER.finditer(text):
        if placeholder[0].startswith("[secret:") and vault.restore(placeholder[0]).restored_count:
            yield placeholder.start()
    for secret in returned:
        if secret in text[:READ_CHARS]:
            yield from (match.start() for match in re.finditer(re.escape(secret), text))


def find_address_around(text: str, start: int) -> str:
    """The web address around a secret; empty without one, or if the secret logs in to its host."""
    starts, ends = _find_addresses(text)
    at = bisect_left(starts, start) - 1
    if at < 0 or start >= ends[at]:
        return ""
    before = text[starts[at] : start].partition("//")[2]
    logs_in = _AUTHORITY.fullmatch(before) and _USERINFO.match(text, start)
    return "" if logs_in else text[starts[at] : ends[at]]


@lru_cache(2)  # many secrets may be found in one text
def _find_addresses(text: str) -> tuple[array[int], array[int]]:
    """The starts and ends of the web addresses in a text."""
    starts, ends = array("I"), array("I")
    for address in _ADDRESS.finditer(text):
        starts.append(address.start())
        ends.append(address.end())
    return starts, ends


def forget_addresses() -> None:
    """Drop the text in which `find_address_around` searched: it is a peer's, and may be long."""
    _find_addresses.cache_clear()


def find_opened(labels: Label, strings: NamedStrings) -> frozenset[str]:
    """The web addresses that a call only requests, and does not pass on.

    Args:
        labels: the tool's abilities.
        strings: of the call, from `named_strings`.
    """
    if not any("://" in text for _, text in strings):
        return frozenset()
    if any(names_recipient(key) for key, _ in strings):
        return frozenset()
    found = {_opened_address(labels, key, text) for key, text in strings} - {""}
    return frozenset(each for each in found if sum(text.count(each) for _, text in strings) == 1)


def _opened_address(labels: Label, key: str, text: str) -> str:
    """The address that an argument is, or that a command only opens; or empty."""
    address = _ADDRESS.search(text)
    if not address:
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
