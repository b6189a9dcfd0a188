"""The files and the hosts that a call names, for exceptions that are for one of them.

An exception that is for one file must not let another one through: what may be read in two ways, or
may name anything, as a command does, counts as named in no way at all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import islice

from pipeguard.detect.checks.addresses import Reach
from pipeguard.detect.commands.argument_roles import ArgumentRole, role
from pipeguard.detect.commands.interpret import command_lines
from pipeguard.detect.matching.confirm import Finder, find_signed, occurs
from pipeguard.detect.model.data_literals import FileKind, file_kind
from pipeguard.detect.words import arguments
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number, Path
from pipeguard.firewall.protocol.pending import NAMING
from pipeguard.firewall.protocol.places import get_value
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

MOST_STRINGS = 256  # of a call that are looked through
MOST_NAMES = 16  # files and hosts of one call
MOST_CHARS = 512  # of a file's or host's name

_WEB = lazy_regex(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://(\S*)")
_NUMBERED_KEYS = arguments.NAMING_HOSTS | arguments.NAMING_ADDRESSES
_NAMING_KEYS = arguments.NAMING_PATHS | _NUMBERED_KEYS
_SIGNS_OF_PATH = lazy_regex(r"\S*[/\\]\S*|[~/\\].*|\.[^\s.]\S*|[A-Za-z]:(?:\S*|[/\\].*)")
# A file or a host in one word, an address in other words, or without slashes.
_MAY_NAME = lazy_regex(
    r"\S*\.[^\W\d_]\w*|\d+(?:\.\d+){3}(?::\d+)?|[A-Za-z][\w.-]*:\d+|[0-9A-Fa-f:.\[\]]*::\S*|"
    r"(?:[0-9A-Fa-f]{1,4}:){7}\S*|(?i:localhost)|.*://.*|(?i:https?|ftp|wss?|file|data):\S.*",
    re.DOTALL,
)
_SEVERAL_PATHS = lazy_regex(r"[\s,;|'](?=[~/\\]|[A-Za-z]:[/\\])|(?<=..):(?=[~/\\])|\"")
_ELSEWHERE = lazy_regex(r"[~/\\]|(?:[^\s/\\]+[/\\])*\.\.(?:[/\\]|$)")  # not below a named folder
_WORD = lazy_regex(r"[\w-]*")
_HOST_NAME = lazy_regex(r"[\w.:\[\]-]+")
# In a command: what comes back is from another machine.
_FETCHES = lazy_regex(
    r"(?:\A|[\s;|&(`/])(?:curl|wget|https?|xh|httpie|aria2c|lynx|w3m|gh|glab|irm|iwr"
    r"|invoke-(?:webrequest|restmethod))\s",
    re.IGNORECASE,
)
_SCHEME = "(?:https?|wss?|s?ftps?|git|ssh)://"
_ADDRESS = lazy_regex(rf"\b{_SCHEME}([^\s\"'<>`{{}}]{{1,2048}})", re.IGNORECASE)
_ACTED_ON = frozenset({ArgumentRole.COMMAND, ArgumentRole.CODE, ArgumentRole.STATEMENT})
_TEXT = frozenset({ArgumentRole.WRITTEN, ArgumentRole.SEARCHED, ArgumentRole.PARSED})


_FILTER_FIRST = ("$ jq ", "$ yq ")  # the first operand is a filter, and no file
_PROGRAM = lazy_regex(r"\$ ([\w-]+)")


def printed_files(command: str) -> tuple[str, ...]:
    """The files that a command prints; none if it could print anything else."""
    files: list[str] = []
    is_filter = False
    for line in command_lines(command):
        if line.startswith("$ "):
            if not lists.PRINTERS.issuperset(_PROGRAM.findall(line)) or "$(" in line:
                return ()
            is_filter = line.startswith(_FILTER_FIRST)
        elif not line.startswith("< "):
            return ()
        elif is_filter:
            is_filter = False
        else:
            files.append(line[2:].replace("\x1f", " "))
    return tuple(files)


class CallNames(NamedTuple):
    """The files and hosts that a call names.

    Attributes:
        paths: of files and folders, without repeated slashes and `.`.
        hosts: in small letters.
    """

    paths: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


UNNAMED = CallNames()
MEMORY_RATIO = 10  # bytes that a byte of a frame takes, once it is parsed
KEPT_BYTES = 4096  # of a request's frame; the names in a longer one are looked for at once


class NamedCall:
    """A request that may name files and hosts, which are looked for when somebody asks.

    Something is found in few messages, and only then anybody does. Keeps the request's values, if
    it is short; `forget` drops them.
    """

    __slots__ = ("_fetches", "_file_kind", "_names", "_source", "size_bytes")

    def __init__(
        self, method: str | None, tool: str | None, params: JsonValue | bytes, frame_bytes: int
    ) -> None:
        """Note a request, by its params or by its frame, from which they are read when needed."""
        self._names: CallNames | None = None
        self._fetches = False
        self._file_kind = FileKind.OTHER
        self._source: tuple[str | None, str | None, JsonValue | bytes] | None
        self._source = method, tool, params
        self.size_bytes = MEMORY_RATIO * frame_bytes
        if frame_bytes > KEPT_BYTES:
            names = self.names
            self.size_bytes = sum(len(name) for each in names for name in each)

    @property
    def names(self) -> CallNames:
        """The files and hosts that it names."""
        self._read()
        return self._names or UNNAMED

    @property
    def fetches(self) -> bool:
        """True where a command or an address asks another machine for what comes back."""
        self._read()
        return self._fetches

    @property
    def file_kind(self) -> FileKind:
        """The kind of the files that it reads, by their names."""
        self._read()
        return self._file_kind

    @property
    def is_read(self) -> bool:
        """True once somebody asked for any of this."""
        return self._source is None

    def forget(self) -> None:
        """Name nothing from now on."""
        self._names, self._source, self._fetches = UNNAMED, None, False
        self._file_kind = FileKind.OTHER

    def _read(self) -> None:
        source = self._source
        if source is not None:
            method, tool, params = source
            if isinstance(params, bytes):
                params = get_value(parse_json(params), ("params",))
            strings, is_call = _list_strings(method, params), method == "tools/call"
            self._names = _collect_names(tool, strings)
            self._fetches = is_call and _is_fetching(tool, strings)
            files = _files_read(tool, strings, self._names) if is_call else ()
            self._file_kind = file_kind(files)
            self._source = None


def _list_strings(method: str | None, params: JsonValue) -> list[tuple[Path, str]]:
    """The strings of a request that may name something; one too many if it has very many."""
    if not isinstance(params, dict) or method not in NAMING:
        return []
    value = params.get("arguments") if method == "tools/call" else {"uri": params.get("uri")}
    return list(islice(_strings(value), MOST_STRINGS + 1))


def _collect_names(tool: str | None, strings: list[tuple[Path, str]]) -> CallNames:
    paths: dict[str, None] = {}
    hosts: dict[str, None] = {}
    if len(strings) > MOST_STRINGS:
        return UNNAMED
    uses: dict[Path, tuple[ArgumentRole, frozenset[str]]] = {}  # items of a list have the same
    for path, text in strings:
        if path not in uses:
            uses[path] = role(tool, path), _nearest_words(path)
        if not _collect(*uses[path], text, paths, hosts):
            return UNNAMED
    if len(paths) + len(hosts) > MOST_NAMES:
        return UNNAMED
    return CallNames(tuple(paths), tuple(hosts))


def fetches(method: str | None, tool: str | None, params: JsonValue) -> bool:
    """True if a call asks another machine for what comes back, by a command or an address.

    Also where it has so many strings that it is not looked through.
    """
    return method == "tools/call" and _is_fetching(tool, _list_strings(method, params))


def _is_fetching(tool: str | None, strings: list[tuple[Path, str]]) -> bool:
    roles: dict[Path, ArgumentRole] = {}
    if len(strings) > MOST_STRINGS:
        return True
    for names, text in strings:
        use = roles.get(names)
        if use is None:
            use = roles[names] = role(tool, names)
        if use is ArgumentRole.COMMAND and occurs(_FETCHES, text):
            return True
        if "://" in text and use not in _TEXT:
            addresses = find_signed(_ADDRESS, _scheme(), text)
            if any(_is_elsewhere(address[1]) for address in addresses):
                return True
    return False


@cache
def _scheme() -> Finder:
    return Finder(_SCHEME, ignore_case=True)


def _files_read(
    tool: str | None, strings: list[tuple[Path, str]], names: CallNames
) -> tuple[str, ...]:
    """The files from which all comes that a call returns; none where that is not certain."""
    if names.hosts or names.paths:
        return () if names.hosts else names.paths
    strings = strings[:MOST_NAMES]
    commands = [text for path, text in strings if role(tool, path) is ArgumentRole.COMMAND]
    is_short = len(strings) < MOST_NAMES and len(commands) == 1 and len(commands[0]) <= MOST_CHARS
    return printed_files(commands[0]) if is_short else ()


def _is_elsewhere(rest: str) -> bool:
    """True for what follows `//` in an address of another machine."""
    from pipeguard.detect.checks.url_hosts import hosts as hosts_in  # as below

    readings = hosts_in(rest)
    return not readings or any(host.reach is Reach.PUBLIC and "." in host.name for host in readings)


def _strings(value: JsonValue) -> Iterator[tuple[Path, str]]:
    """The strings of a value that may name something, each with the names around it."""
    left: list[tuple[Path, JsonValue]] = [((), value)]
    for _ in range(4 * MOST_STRINGS):
        if not left:
            return
        path, item = left.pop()
        if type(item) is str:
            yield path, item
        elif type(item) is Number:
            if not _NUMBERED_KEYS.isdisjoint(_nearest_words(path)):
                yield path, item  # 2130706433 is an address, too
        elif type(item) is dict:
            left += [((*path, key), inner) for key, inner in item.items()]
            left += [
                (path, key) for key in item if not (key.isidentifier() or _WORD.fullmatch(key))
            ]
        elif type(item) is list:
            left += [(path, inner) for inner in item]
    yield from ((path, "") for path, _ in left[:1] * (MOST_STRINGS + 1))  # too many: not certain


def _collect(
    use: ArgumentRole,
    words: frozenset[str],
    text: str,
    paths: dict[str, None],
    hosts: dict[str, None],
) -> bool:
    """Add what one string names, by the words of its key; False where that is not certain."""
    if use in _ACTED_ON:
        return False
    if use in _TEXT:
        return use is not ArgumentRole.SEARCHED or not _ELSEWHERE.match(text)
    web = _WEB.fullmatch(text)
    if web is None:
        return _collect_word(words, text, paths, hosts)
    if web[1].lower() != "file":
        return _collect_host(web[2], hosts)
    rest = web[2].removeprefix("localhost")  # any other host is another machine's
    return rest.startswith("/") and _collect_path(rest, paths)


def _collect_word(
    words: frozenset[str], text: str, paths: dict[str, None], hosts: dict[str, None]
) -> bool:
    """Add what a string that is no address names, by the words of its key."""
    if len(text) > MOST_CHARS:  # prose, or nothing that is certain; the patterns are for names
        is_prose = " " in text and "://" not in text and text[0] not in "/\\~"
        return is_prose and not words & _NAMING_KEYS
    if words & arguments.NAMING_HOSTS:
        return _collect_host(text, hosts)
    if words & arguments.NAMING_PATHS or _SIGNS_OF_PATH.fullmatch(text):
        return _collect_path(text, paths)
    return not words & arguments.NAMING_ADDRESSES and not _MAY_NAME.fullmatch(text)


def _nearest_words(path: Path) -> frozenset[str]:
    """The words of the nearest name around a value."""
    name = str(path[-1]) if path else ""
    return _split(name) if len(name) <= MOST_CHARS else frozenset(name_words(name))


@lru_cache(maxsize=256)  # a list has the same names again and again
def _split(name: str) -> frozenset[str]:
    return frozenset(name_words(name))


def _collect_host(rest: str, hosts: dict[str, None]) -> bool:
    from pipeguard.detect.checks.url_hosts import hosts as hosts_in  # 4 ms, which few calls need

    readings = hosts_in(rest)
    names = {reading.name for reading in readings}
    if len(names) != 1 or any(reading.odd for reading in readings):
        return False
    (name,) = names
    hosts[name] = None
    return _HOST_NAME.fullmatch(name) is not None


def _collect_path(text: str, paths: dict[str, None]) -> bool:
    """Add a path; False where a program could read it as another one, or as several."""
    if not 0 < len(text) <= MOST_CHARS:
        return False
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    if ".." in plain or "%" in plain or not text.isprintable():
        return False
    steps = text.replace("\\", "/")
    if steps.startswith("//") or _SEVERAL_PATHS.search(text):  # the first is another machine's
        return False
    kept = [step for step in steps.split("/") if step not in ("", ".")]
    paths["/" * steps.startswith("/") + "/".join(kept) or "."] = None
    return True
