"""Builds, recognises and parses guarded commands.

Knows `pipeguard wrap`'s command line and where a running guard listens, but no client's file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.clients.catalog import Transport
from pipeguard.config.options import TABLE
from pipeguard.config.tree import Value
from pipeguard.errors import StateError

if TYPE_CHECKING:
    from pipeguard.runtime.start import RunningGuard

_NAMES = {"pipeguard", "pipeguard.exe"}
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:\.exe)?\Z|py(?:\.exe)?\Z", re.IGNORECASE)
# Options of the interpreter that run nothing.
_FLAGS = re.compile(r"-(?:[bBdEIOPqRsSuvx]+|[WX].+)")
_TAKES_VALUE = frozenset(name for name, metavar, _, _ in TABLE if metavar)
_VARIABLE = re.compile(r"[A-Za-z_][\w.()-]*")
# Names that no client expands and no terminal interprets.
_NAME = re.compile(r"[\w@][\w@.:/ +()-]{0,99}")
_STARTS = re.compile(r"\bpipeguard(?:\.exe)?['\"]?\s+(?:wrap|serve)\b")
SHARED_LAUNCHER = ("pipeguard",)  # looked up on the PATH of everybody who has the repository
HEADER_PREFIX = "PIPEGUARD_H"
ISOLATE = "--isolate"


class WrapOption(NamedTuple):
    """An option of a guarded command.

    Attributes:
        name: with its hyphens.
        value: empty if it takes none.
        begin: the index of its name among the words.
        end: the index after it.
    """

    name: str
    value: str
    begin: int
    end: int


class GuardedCommand(NamedTuple):
    """A command that starts `pipeguard wrap`.

    Attributes:
        launcher: the words that start PipeGuard.
        command: the server's own words; empty for a remote server.
        url: the remote server's address, or None.
        transport: the value of `--transport`, or None.
        headers: headers, and the variables with their values.
        bearer: the variable with a token, or None.
        name: the value of `--name`, or None.
        folder: the value of `--cwd`, or None.
        isolate: the value of `--isolate`, or None.
    """

    launcher: tuple[str, ...]
    command: tuple[str, ...] = ()
    url: str | None = None
    transport: Transport | None = None
    headers: Mapping[str, str] = {}
    bearer: str | None = None
    name: str | None = None
    folder: str | None = None
    isolate: str | None = None

    @property
    def is_stale(self) -> bool:
        """True if the launcher is a path that no longer exists."""
        return is_stale(self.launcher)


def split_guarded(words: Sequence[str]) -> GuardedCommand | None:
    """Parse a guarded command; None for any other command."""
    count = _launcher_length(words)
    if not count or list(words[count : count + 1]) != ["wrap"]:
        return None
    launcher = tuple(words[:count])
    last = {}
    headers = {}
    position = count + 1
    for option in _options(words, position):
        last[option.name] = option.value
        if option.name == "--header-env":
            header, _, variable = option.value.partition("=")
            headers[header] = variable
        position = option.end
    transports = {transport.value: transport for transport in Transport}
    return GuardedCommand(
        launcher,
        tuple(words[position + 1 :]),
        last.get("--upstream"),
        transports.get(last.get("--transport", "")),
        headers,
        last.get("--bearer-env"),
        last.get("--name"),
        last.get("--cwd"),
        last.get(ISOLATE),
    )


def wrap_options(words: Sequence[str]) -> tuple[WrapOption, ...]:
    """Return the options of a guarded command; empty for any other command."""
    begin = _launcher_length(words) + 1
    return tuple(_options(words, begin)) if split_guarded(words) else ()


def with_isolation(words: Sequence[Value], engine: str) -> list[Value]:
    """Add `--isolate` to the words of a guarded command that starts a server.

    Args:
        words: the command's words, as its file writes them.
        engine: the option's value.
    """
    texts = [str(word) for word in words]
    begin = _launcher_length(texts) + 1
    options = list(_options(texts, begin))
    end = options[-1].end if options else begin
    others = [option for option in options if option.name != ISOLATE]
    kept = [word for option in others for word in words[option.begin : option.end]]
    return [*words[:begin], *kept, ISOLATE, engine, *words[end:]]


def _options(words: Sequence[str], position: int) -> Iterator[WrapOption]:
    """Yield the options of `wrap` from a position on, up to the server's command."""
    while position < len(words) and words[position] != "--":
        begin = position
        name, equals, value = words[position].partition("=")
        position += 1
        if name in _TAKES_VALUE and not equals and position < len(words):
            value = words[position]
            position += 1
        yield WrapOption(name, value, begin, position)


def gateway_launcher(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words that start PipeGuard in a command that runs `pipeguard serve`, or none."""
    count = _launcher_length(words)
    is_gateway = bool(count) and list(words[count : count + 1]) == ["serve"]
    return tuple(words[:count]) if is_gateway else ()


def runs_pipeguard(words: Sequence[str]) -> bool:
    """True if a command starts a guard or the gateway, even in a shell's line or by a wrapper."""
    return bool(_STARTS.search(" ".join(words)))


def find_listener(url: str | None, *verbs: str) -> RunningGuard | None:
    """Find this user's running guard that listens at an address, as far as the system tells.

    Args:
        url: a server's address; None for a server that PipeGuard starts.
        verbs: the commands to consider; without any, `wrap` and `serve`.
    """
    if url is None:
        return None
    from pipeguard.runtime.endpoints import is_own_address
    from pipeguard.runtime.start import running_guards

    guards = (
        each for each in running_guards() if each.address and (not verbs or each.verb in verbs)
    )
    return next((guard for guard in guards if is_own_address(url, guard.address)), None)


def needs_token(listener: RunningGuard) -> bool:
    """True if a gateway has tokens among its options, or in the store."""
    from pipeguard.state.store import open_existing_store
    from pipeguard.state.tokens import are_required

    if {"--token-env", "--token-file"} & {word.partition("=")[0] for word in listener.words}:
        return True
    with suppress(StateError):
        if store := open_existing_store():
            with store:
                return are_required(store)
    return False


def is_stale(launcher: Sequence[str]) -> bool:
    """True if a launcher is a path that no longer exists."""
    program = Path(launcher[0])
    return program.is_absolute() and not program.exists()


def list_words(guard: GuardedCommand, variables: Sequence[str] = ()) -> list[str]:
    """Build the words of a guarded command, which `guarded` parses again.

    Args:
        guard: its parts.
        variables: names that the entry sets for a started server. Repeated as options, they reach
            it even if they look like the client's own variables (docs/reference.md).
    """
    words = [*guard.launcher, "wrap"]
    if guard.name and _NAME.fullmatch(guard.name):
        words += ["--name", guard.name]
    if guard.url is None:
        passed = [name for name in variables if _VARIABLE.fullmatch(name)]
        own = [name for name in passed if name.upper().startswith("PIPEGUARD_")]
        names = [word for name in passed if name not in own for word in ("--env", name)]
        isolate = (ISOLATE, guard.isolate) if guard.isolate else ()
        return [*words, *isolate, *names, "--", *guard.command]
    for header, variable in guard.headers.items():
        words += ("--header-env", f"{header}={variable}")
    if guard.bearer is not None:
        words += ("--bearer-env", guard.bearer)
    if guard.transport not in (None, Transport.HTTP):
        words += ("--transport", guard.transport.value)
    return [*words, "--upstream", guard.url]


def _launcher_length(words: Sequence[str]) -> int:
    """Count the words that start PipeGuard; 0 if they do not.

    They are one word or `python -m pipeguard`. A relative path belongs to the project, even if it
    is named pipeguard; a runner such as uvx may run another project of the name.
    """
    if not words or _is_relative(words[0]):
        return 0
    base = words[0].replace("\\", "/").rsplit("/", 1)[-1].lower()
    if base in _NAMES:
        return 1
    if _PYTHON.match(base):
        for index, word in enumerate(words[1:6], 1):
            if word in ("-m", "-Im", "-IEm", "-EPm"):
                return index + 2 if words[index + 1 : index + 2] == ["pipeguard"] else 0
            if not _FLAGS.fullmatch(word):
                break
    return 0


def _is_relative(path: str) -> bool:
    """True if a path is relative to the current folder, which may contain a project's files."""
    return not path.startswith(("/", "~", "$", "%")) and bool(re.match(r"[^/\\:]*[/\\]", path))
