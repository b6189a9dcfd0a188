"""The files and the hosts that a call names, for exceptions that are for one of them.

An exception for one file must not let another one through: a text that may be read in two ways, or
may name anything, as a command does, counts as naming nothing.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from itertools import islice

from pipeguard.detect.commands.argument_roles import IDLE, ArgumentRole, role
from pipeguard.detect.commands.interpret import command_lines
from pipeguard.detect.matching.confirm import find_signed, occurs
from pipeguard.detect.model.data_literals import file_kind
from pipeguard.detect.words import MODEL_FILES, arguments
from pipeguard.detect.words import programs as lists
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol import places, strict_json
from pipeguard.firewall.protocol.json_values import JsonValue, Number, Path, walk_values
from pipeguard.firewall.protocol.pending import NAMING, TargetFacts, Targets
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
    r"""(?sx)
    \S*\.[^\W\d_]\w* | \d+(?:\.\d+){3}(?::\d+)? | [A-Za-z][\w.-]*:\d+ | [0-9A-Fa-f:.\[\]]*::\S*
    | (?:[0-9A-Fa-f]{1,4}:){7}\S* | (?i:localhost) | .*://.*
    | (?i:https?|ftp|wss?|file|data):\S.*""",
)
_SEVERAL_PATHS = lazy_regex(r"[\s,;|'](?=[~/\\]|[A-Za-z]:[/\\])|(?<=..):(?=[~/\\])|\"")
_ELSEWHERE = lazy_regex(r"[~/\\]|(?:[^\s/\\]+[/\\])*\.\.(?:[/\\]|$)")  # not below a named folder
_WORD = lazy_regex(r"[\w-]*")
_HOST_NAME = lazy_regex(r"[\w.:\[\]-]+")
# Source code, and files that agents are meant to read.
_FOR_AGENTS = lazy_regex(
    MODEL_FILES
    + r"""
    | \.(?:[chmrs]|[ch](?:c|h|pp|xx)|[cfrv]s|[cm]?[jt]sx?|bash|clj|dart|elm|erl|exs?|go|gradle)\Z
    | \.(?:graphql|groovy|java|jl|kts?|lua|mli?|nim|php|p[lm]|proto|ps1|pyi?|rb|scala|sh|sol|sql)\Z
    | \.(?:svelte|swift|tf|vb|vue|zig|zsh)\Z | llms(?:-full)?\.txt\Z
    | \.(?:agent|chatmode|prompt)\.md\Z | (?:^|/)(?:agents?|prompts?|skills?)/.*\.(?:md|txt)\Z""",
    re.IGNORECASE | re.VERBOSE,
)
# In a command: its result comes from another machine.
_FETCHES = lazy_regex(rf"(?:\A|[\s;|&(`/])(?:{lists.alternatives('FETCHING')})\s", re.IGNORECASE)
_SCHEME = "(?:https?|wss?|s?ftps?|git|ssh)://"
_ADDRESS = lazy_regex(rf"\b{_SCHEME}([^\s\"'<>`{{}}]{{1,2048}})", re.IGNORECASE)
_ACTED_ON = frozenset({ArgumentRole.COMMAND, ArgumentRole.CODE, ArgumentRole.STATEMENT})


_FILTER_FIRST = "$ jq ", "$ yq "  # the first operand is a filter, and no file
_PROGRAM = lazy_regex(r"\$ ([\w-]+)")


def printed_files(command: str) -> tuple[str, ...]:
    """The files that a command prints; empty if it could print anything else."""
    files = []
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


_NamedText = tuple[Path, str]  # with the names around it


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


def find_targets(
    method: str | None, tool: str | None, params: JsonValue | bytes, frame_bytes: int
) -> Targets:
    """The files and hosts that a request may name, read on demand if its frame is short.

    Args:
        method: of the request.
        tool: that it calls, if any.
        params: of the request, or its frame.
        frame_bytes: the size of its frame.
    """
    targets = Targets(partial(_read_facts, method, tool, params), MEMORY_RATIO * frame_bytes)
    if frame_bytes > KEPT_BYTES:
        targets.size_bytes = sum(len(name) for each in targets.facts.names for name in each)
    return targets


def _read_facts(method: str | None, tool: str | None, params: JsonValue | bytes) -> TargetFacts:
    if isinstance(params, bytes):
        params = places.get_value(strict_json.parse_json(params), ("params",))
    is_call = method == "tools/call"
    strings: list[_NamedText] = []
    if isinstance(params, dict) and method in NAMING:
        value = params.get("arguments") if is_call else {"uri": params.get("uri")}
        strings += islice(_strings(value), MOST_STRINGS + 1)
    names = _find_names(tool, strings)
    files = _find_read_files(tool, strings, names) if is_call else ()
    is_fetching = is_call and _is_fetching(tool, strings)
    are_for_agents = bool(files) and all(map(_FOR_AGENTS.search, files))
    return TargetFacts(names, is_fetching, file_kind(files), are_for_agents)


def _find_names(tool: str | None, strings: list[_NamedText]) -> CallNames:
    found = []
    uses = {}  # items of a list have the same
    for path, text in strings:
        if path not in uses:
            uses[path] = role(tool, path), _nearest_words(path)
        names = _read_names(*uses[path], text)
        if names is None:
            return UNNAMED
        found.append(names)
    paths = tuple({name: None for each in found for name in each.paths})
    hosts = tuple({name: None for each in found for name in each.hosts})
    is_certain = len(strings) <= MOST_STRINGS and len(paths) + len(hosts) <= MOST_NAMES
    return CallNames(paths, hosts) if is_certain else UNNAMED


def _is_fetching(tool: str | None, strings: list[_NamedText]) -> bool:
    """True if a call fetches its result from another machine, or has too many strings to tell."""
    if len(strings) > MOST_STRINGS:
        return True
    for path, text in strings:
        use = role(tool, path)
        if use is ArgumentRole.COMMAND and occurs(_FETCHES, text):
            return True
        if "://" in text and use not in IDLE:
            from pipeguard.detect.checks.url_hosts import is_local  # as below

            addresses = find_signed(_ADDRESS, _SCHEME, text)
            if not all(is_local(address[1]) for address in addresses):
                return True
    return False


def _find_read_files(
    tool: str | None, strings: list[_NamedText], names: CallNames
) -> tuple[str, ...]:
    """The files from which a call's whole result comes; empty if that is not certain."""
    if names.hosts:
        return ()
    if names.paths:
        return names.paths
    strings = strings[:MOST_NAMES]
    commands = [text for path, text in strings if role(tool, path) is ArgumentRole.COMMAND]
    is_short = len(strings) < MOST_NAMES and len(commands) == 1 and len(commands[0]) <= MOST_CHARS
    return printed_files(commands[0]) if is_short else ()


def _strings(value: JsonValue) -> Iterator[_NamedText]:
    """The strings of a value that may name something, each with the names around it."""
    values = walk_values(value)
    for path, item in islice(values, 4 * MOST_STRINGS):
        names = tuple(step for step in path if isinstance(step, str))
        if type(item) is dict:
            yield from (
                (names, key) for key in item if not (key.isidentifier() or _WORD.fullmatch(key))
            )
        elif type(item) is str:
            yield names, item
        elif type(item) is Number and not _NUMBERED_KEYS.isdisjoint(_nearest_words(names)):
            yield names, item  # 2130706433 is an address, too
    if next(values, None) is not None:
        yield from [((), "")] * (MOST_STRINGS + 1)  # not certain


def _read_names(use: ArgumentRole, words: frozenset[str], text: str) -> CallNames | None:
    """The names in one string, by the words of its key; None if they are uncertain."""
    if use in _ACTED_ON:
        return None
    if use in IDLE:
        is_searched = use is ArgumentRole.SEARCHED and _ELSEWHERE.match(text)
        return None if is_searched else UNNAMED
    web = _WEB.fullmatch(text)
    if not web:
        return _read_word(words, text)
    if web[1].lower() != "file":
        return _read_host(web[2])
    rest = web[2].removeprefix("localhost")  # any other host is another machine's
    return _read_path(rest) if rest.startswith("/") else None


def _read_word(words: frozenset[str], text: str) -> CallNames | None:
    """The name in a string that is not an address, by the words of its key."""
    if len(text) > MOST_CHARS:  # prose, or uncertain; the patterns are for names
        is_prose = " " in text and "://" not in text and text[0] not in "/\\~"
        return UNNAMED if is_prose and not words & _NAMING_KEYS else None
    if words & arguments.NAMING_HOSTS:
        return _read_host(text)
    if words & arguments.NAMING_PATHS or _SIGNS_OF_PATH.fullmatch(text):
        return _read_path(text)
    may_name = words & arguments.NAMING_ADDRESSES or _MAY_NAME.fullmatch(text)
    return None if may_name else UNNAMED


def _nearest_words(path: Path) -> frozenset[str]:
    """The words of the nearest name around a value."""
    return frozenset(name_words(str(path[-1]))) if path else frozenset()


def _read_host(rest: str) -> CallNames | None:
    from pipeguard.detect.checks.url_hosts import hosts as hosts_in  # 4 ms, which few calls need

    readings = hosts_in(rest)
    names = {reading.name for reading in readings}
    if len(names) != 1 or any(reading.odd for reading in readings):
        return None
    (name,) = names
    return CallNames(hosts=(name,)) if _HOST_NAME.fullmatch(name) else None


def _read_path(text: str) -> CallNames | None:
    """A path; None if a program could read it as a different path, or as several."""
    if not 0 < len(text) <= MOST_CHARS:
        return None
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    steps = text.replace("\\", "/")
    is_elsewhere = ".." in plain or "%" in plain or steps.startswith("//")  # another machine's
    if is_elsewhere or not text.isprintable() or _SEVERAL_PATHS.search(text):
        return None
    kept = [step for step in steps.split("/") if step not in ("", ".")]
    return CallNames(("/" * steps.startswith("/") + "/".join(kept) or ".",))
