"""The destination of a string of a call: another host, somebody by a tool that sends, or nowhere.

A sample key in a file that is written is a sample; in a request to somebody's host it is a common
first test of a firewall, and has no use there. An address of this machine or of a private network
is not a way out. Knows tools, names and addresses, and no rules.
"""

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from itertools import islice
from operator import itemgetter

from pipeguard.detect.commands.argument_roles import ArgumentRole, role, writes_file
from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.words import arguments, programs
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Path
from pipeguard.firewall.protocol.places import ARGUMENTS, get_value
from pipeguard.unicode.folding import Range
from pipeguard.unicode.name_words import name_words

MOST_STRINGS = 256  # of a call that are looked through for an address
LONGEST_ADDRESS = 2048  # characters
PICTURE_CHARS = 256  # before the address of a picture: the longest match of `_PICTURE`

_ADDRESS = lazy_regex(
    rf"\b(?:{programs.alternatives('SERVERS_OF_DATA')}|mongodb\+srv)(?:://|%3A%2F%2F)([^\s\"'<>`{{}}]{{1,2048}})",
    re.IGNORECASE,
)
_HOST = lazy_regex(r"(?:[\w-]{1,63}\.){1,30}[A-Za-z][A-Za-z0-9-]{1,23}\.?(?::[0-9]{1,5})?")
_REACHES_HOST = lazy_regex(
    rf"(?i)\b(?:{programs.alternatives('REACHING_CALLS')}"
    r"|openssl s_client|requests?\.\w|http\.client)\b",
)
_RUNS_SENDER = lazy_regex(rf"(?i)(?:^|[\s;|&(`\"'=:])(?:{programs.alternatives('RUN_SENDERS')})\s")
_PICTURE = lazy_regex(
    r"!\[[^\]\n]{0,80}\]\(\s{0,4}\Z|<(?:img|script|iframe|link)\b[^>]{0,200}=[\"']?\Z"
)
_COMMAND_END = lazy_regex(r"&&|\|\||;|\n")


class WayOut(IntEnum):
    """The certainty that a string of a call leaves."""

    NOWHERE = 0
    SENT = 1  # by a tool that sends
    REQUESTED = 2  # in an address, or in a request to a host


def way_out(tool: Tool, value: JsonValue, path: Path, span: Range) -> WayOut:
    """Find the destination of a part of a call's string.

    Args:
        tool: the called tool.
        value: the message.
        path: of the string in it.
        span: of the part, in characters.
    """
    text = get_value(value, path)
    if isinstance(text, str) and _is_requested(tool, value, path, text, span):
        return WayOut.REQUESTED
    keeps = tool.labels & (Label.WRITES | Label.KEEPS) and not tool.labels & Label.OUTSIDE
    return WayOut.SENT if tool.labels & Label.SENDS and not keeps else WayOut.NOWHERE


def _is_requested(tool: Tool, value: JsonValue, path: Path, text: str, span: Range) -> bool:
    string_role = role(tool.name, path)
    if string_role in (ArgumentRole.COMMAND, ArgumentRole.CODE):
        return _is_in_request(text, span, by_line=string_role is ArgumentRole.COMMAND)
    writes, hosts = _destinations(tool.name, tuple(_arguments(value)))
    if writes and not tool.labels & Label.SENDS:
        return False
    is_read = string_role in (ArgumentRole.WRITTEN, ArgumentRole.SEARCHED)
    addresses = _addresses(text)
    first = bisect_right(addresses, span[0], key=itemgetter(1))  # by their ends
    last = bisect_left(addresses, span[1], key=itemgetter(0))
    for start, _, rest in addresses[first:last]:
        if not _is_local(rest):
            picture = _PICTURE.search(text, max(0, start - PICTURE_CHARS), start)
            return not is_read or picture is not None
    return _is_host(path, text) or _is_header(path) or not hosts <= {path}


@lru_cache(1)  # a call with many secrets needs it for each of them
def _destinations(tool: str, strings: tuple[tuple[Path, str], ...]) -> tuple[bool, frozenset[Path]]:
    """True if a call writes a file; and the paths of its strings that name another host."""
    hosts = (at for at, string in strings if _is_host(at, string) or _is_foreign_address(string))
    names = {step for at, _ in strings for step in at if isinstance(step, str)}
    return writes_file(tool, names), frozenset(hosts)


def is_sent_by_line(value: JsonValue, path: Path, span: Range) -> bool:
    """True if a part of a string leaves with its line, once somebody runs or opens that.

    A command of a hook, of a job or in a startup file sends it, or the address of a picture.

    Args:
        value: the message.
        path: of the string in it.
        span: of the part, in characters.
    """
    text = get_value(value, path)
    if not isinstance(text, str):
        return False
    first = max(0, span[0] - LONGEST_ADDRESS)
    around = text[first : span[1] + LONGEST_ADDRESS].replace("\\\n", "  ")
    end = around.find("\n", span[1] - first)
    line = around[around.rfind("\n", 0, span[0] - first) + 1 : end if end >= 0 else None]
    is_run = _RUNS_SENDER.search(line) is not None
    return any(
        (is_run or _PICTURE.search(line, 0, address.start())) and not _is_local(address[1])
        for address in _ADDRESS.finditer(line)
    )


def _arguments(value: JsonValue) -> Iterator[tuple[Path, str]]:
    """The strings among a call's first arguments; outer ones first: no list hides an address."""
    left: deque[tuple[Path, JsonValue]] = deque([(ARGUMENTS, get_value(value, ARGUMENTS))])
    for _ in range(MOST_STRINGS):
        if not left:
            return
        path, item = left.popleft()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, dict):
            left.extend(((*path, key), each) for key, each in islice(item.items(), MOST_STRINGS))
        elif isinstance(item, list):
            left.extend(((*path, at), each) for at, each in enumerate(item[:MOST_STRINGS]))


def _is_in_request(text: str, span: Range, *, by_line: bool) -> bool:
    """True within a command, or a program, that reaches another host."""
    low, high = 0, len(text)
    if by_line:
        starts, ends = _commands(text)
        low = starts[bisect_right(starts, span[0]) - 1]
        high = ends[min(bisect_left(ends, span[1]), len(ends) - 1)]
    if not _reaches_host(text, low, high):
        return False
    addresses = _addresses(text)
    return not addresses or not all(_is_local(rest) for *_, rest in addresses)


# The last texts are remembered: many keys may be found in one.


@lru_cache(2)
def _commands(text: str) -> tuple[list[int], list[int]]:
    """Find the starts and ends of the commands of a script."""
    between = [end.span() for end in _COMMAND_END.finditer(text)]
    return [0, *(end for _, end in between)], [*(start for start, _ in between), len(text)]


@lru_cache(32)
def _reaches_host(text: str, low: int, high: int) -> bool:
    return _REACHES_HOST.search(text, low, high) is not None


@lru_cache(2)
def _addresses(text: str) -> list[tuple[int, int, str]]:
    """The addresses in a text: start, end, and the text after `//`."""
    return [(*address.span(), address[1]) for address in _ADDRESS.finditer(text)]


def forget_texts() -> None:
    """Drop all texts of a peer, once the keys in them are rated."""
    _commands.cache_clear()
    _reaches_host.cache_clear()
    _addresses.cache_clear()


def _is_host(path: Path, text: str) -> bool:
    """True for the name of another host, in an argument for one."""
    could_be = len(text) < LONGEST_ADDRESS and _HOST.fullmatch(text) is not None
    asks = could_be and not arguments.HOSTS.isdisjoint(name_words(_key(path)))
    return asks and not _is_local(text)


@lru_cache(4)
def _is_header(path: Path) -> bool:
    keys = {str(step).lower() for step in path[:-1]} | {_key(path)}
    return not arguments.AUTHORIZING.isdisjoint(keys)


def _is_foreign_address(text: str) -> bool:
    """True for a string that is only an address of another host."""
    address = _ADDRESS.match(text)
    return address is not None and address.end() == len(text) and not _is_local(address[1])


def _is_local(rest: str) -> bool:
    """True if the text after `//` is an address of this machine, or of a private network."""
    from pipeguard.detect.checks.url_hosts import is_local  # 4 ms, which few calls need

    return is_local(rest.replace("%2F", "/").replace("%2f", "/"))


def _key(path: Path) -> str:
    """The nearest name of a string, in small letters."""
    return next((step for step in reversed(path) if isinstance(step, str)), "").lower()
