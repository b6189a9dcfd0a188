"""Starts or calls servers to list their offers: several at once, each with a time limit.

Each started server gets an empty home folder, which is removed afterwards, and no
credentials. This is not a sandbox: the server runs with your rights. But listing costs no secret.
"""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Timer
from time import monotonic
from typing import NamedTuple

from pipeguard.assess.conversation import RUN, Conversation, ConversationEnded, ServerDialogue
from pipeguard.assess.gateway_file import identify_entry, pins_name
from pipeguard.assess.target import AssessmentTarget, Contents, ServerKey, make_key
from pipeguard.auth import resolve_arguments, resolve_variables
from pipeguard.auth.secrets import resolve
from pipeguard.clients.catalog import ConfigScope, Transport
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.machine import Machine
from pipeguard.clients.masking import is_secret, masked_text
from pipeguard.config.directories import cache_folder
from pipeguard.config.options import WrapOptions
from pipeguard.detect.detector import make_guard
from pipeguard.errors import PipeGuardError
from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.policy import Mode, Policy, Trust
from pipeguard.firewall.protocol import framing, json_values, strict_json
from pipeguard.firewall.session.session import Session
from pipeguard.identity.things import find_loading
from pipeguard.launch.child import Command, start
from pipeguard.launch.environment import child_environment, refers
from pipeguard.runtime.run import require_allowed, start_thread
from pipeguard.state.store import open_store
from pipeguard.transports.channel import Channel, ChannelClosed
from pipeguard.transports.stdio import LineChannel

LIMIT_SECONDS = 30.0  # for one server; package runners may have to unpack first
MOST_AT_ONCE = 8
END_SECONDS = 1.0  # a server's time to end
CALL_END_SECONDS = 10.0  # also, if it was called: PipeGuard records the call in that time
OWN_LAUNCHER = (sys.executable, "-E", "-P", "-m", "pipeguard")
READ_BYTES = 16 * 1024
KEY_BYTES = 32
_REFERENCE = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|\{\{.*?\}\}")
_PROJECT = re.compile(r"\$\{(?:workspaceFolder|workspaceRoot|CLAUDE_PROJECT_DIR)[^}]*\}")
# Caches of package runners; with an empty folder each start would fetch again.
_CACHES = {"npm_config_cache": ".npm", "UV_CACHE_DIR": ".cache/uv"}
_HOMES = {
    "HOME": "",
    "USERPROFILE": "",
    "APPDATA": "AppData/Roaming",
    "LOCALAPPDATA": "AppData/Local",
    "XDG_CONFIG_HOME": ".config",
    "XDG_CACHE_HOME": ".cache",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "TMPDIR": "tmp",
    "TEMP": "tmp",
    "TMP": "tmp",
}


class ConnectOptions(NamedTuple):
    """Options for connecting to servers.

    Attributes:
        limit_seconds: for each server.
        credentials: use your home folder, everything that the entries set, and your logins.
    """

    limit_seconds: float = LIMIT_SECONDS
    credentials: bool = False


def connect(
    target: AssessmentTarget,
    options: ConnectOptions,
    policy: Policy,
    tell: Callable[[int, int, str], None],
) -> dict[ServerKey, Contents]:
    """List the offers of a target's servers; connect once to a server in several files.

    Args:
        target: the machine or repository.
        options: the time limit and credentials.
        policy: judges the servers' answers; always enforced.
        tell: called after each server with the number done, the number of all, and its name.
    """
    alike: dict[object, list[ServerEntry]] = {}
    for server in target.servers:
        started = server.own_words, tuple(sorted(server.env.items())), server.cwd
        is_projects = server.scope is ConfigScope.PROJECT
        alike.setdefault((*started, server.own_url, is_projects), []).append(server)
    policy = policy._replace(mode=Mode.ENFORCE)
    judging = Lock()
    contents: dict[ServerKey, Contents] = {}
    with _deep_stacks(), ThreadPoolExecutor(MOST_AT_ONCE, "assess") as pool:
        futures = {
            pool.submit(_contents, target, servers[0], options, policy, judging): servers
            for servers in alike.values()
        }
        try:
            for done, future in enumerate(as_completed(futures), 1):
                servers = futures[future]
                contents |= {make_key(server): future.result() for server in servers}
                tell(done, len(futures), servers[0].name)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error: those that have not begun
    return contents


@contextmanager
def _deep_stacks() -> Iterator[None]:
    """Give threads a stack for the deepest message that is parsed."""
    import threading

    before = threading.stack_size(strict_json.STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)


def _contents(
    target: AssessmentTarget,
    server: ServerEntry,
    options: ConnectOptions,
    policy: Policy,
    judging: Lock,
) -> Contents:
    began = monotonic()
    over = Event()
    try:
        require_allowed(policy, (*identify_entry(server).things, *find_loading(server.env)))
        with ExitStack() as stack:
            if server.own_url:
                opened = _remote_channel(server, server.own_url, options, policy)
            else:
                opened = _child_channel(target, server, options, policy)
            channel = stack.enter_context(opened)
            stack.enter_context(close_in_time(channel, over, options.limit_seconds))
            # With the server's pins, to see changes; new definitions are only scanned.
            (name, pins) = find_pins(target, server)
            key = os.urandom(KEY_BYTES)
            policy = policy._replace(trust=Trust.FIRST_USE)
            session = Session(make_guard(name, target.engines, policy, pins, key), RUN)
            contents = Conversation(channel, over.is_set, session, judging).hold()
    except (PipeGuardError, OSError) as error:
        why = str(error).splitlines()[0].partition(" (")[0].rstrip(".")
        contents = Contents(f"It could not be asked: {masked_text(why)}.")
    return replace(contents, seconds=monotonic() - began)


@contextmanager
def close_in_time(channel: Channel, over: Event, limit_seconds: float) -> Iterator[None]:
    """Close a channel when the time is up, and set an event."""

    def stop() -> None:
        over.set()
        channel.close()

    timer = Timer(limit_seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _child_channel(
    target: AssessmentTarget, server: ServerEntry, options: ConnectOptions, policy: Policy
) -> Iterator[Channel]:
    machine = target.machine
    root = server.project or target.root or machine.project or machine.home
    with _own_folder() as folder:
        user_folder = Path.home() if options.credentials else Path(folder)
        words = tuple(_PROJECT.sub(lambda _: str(root), word) for word in server.own_words)
        environment = _environment(server, user_folder, root, options)
        cwd_text = os.path.expandvars(_PROJECT.sub(lambda _: str(root), server.cwd))
        cwd = Path(cwd_text or user_folder)
        if not server.cwd and server.scope is ConfigScope.PROJECT:
            cwd = root
        words = resolve_arguments(words) if options.credentials else words
        command = Command(words, environment, str(root / cwd))
        with run_child(command, policy.limits.frame_bytes) as channel:
            yield channel


@contextmanager
def run_child(
    command: Command, limit_bytes: int, end_seconds: float = END_SECONDS, log: Path | None = None
) -> Iterator[Channel]:
    """Run a server, and end it with the context; its standard error goes to a file, if any."""
    child = start(command)
    try:
        child.wait_started()
        drain = start_thread("stderr", lambda: _drain(child.stderr_fd, log))
        channel = LineChannel(child.stdout_fd, child.stdin_fd, limit_bytes)
        try:
            yield channel
        finally:
            channel.close()
            child.end(end_seconds)
            drain.join(end_seconds)
    finally:
        child.close()


@contextmanager
def _own_folder() -> Iterator[str]:
    """Make an empty folder in the user's cache.

    Package runners also use packages and settings from parent folders, and in the system's
    temporary folder any user could put some. npm stops at the first folder with a node_modules, so
    there is one.
    """
    above = Path(cache_folder())
    above.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="assess-", dir=above, ignore_cleanup_errors=True
    ) as folder:
        for inner in ("node_modules", "home"):
            Path(folder, inner).mkdir()
        yield str(Path(folder, "home"))


def _drain(descriptor: int, log: Path | None) -> None:
    """Read a server's standard error, so that it never blocks; discard it without a file."""
    with suppress(OSError), open(log or os.devnull, "wb") as file:
        while data := os.read(descriptor, READ_BYTES):
            file.write(data)


def _environment(
    server: ServerEntry, user_folder: Path, root: Path, options: ConnectOptions
) -> Mapping[str, str]:
    variables = child_environment(os.environ, os.environ).variables
    if options.credentials:
        passed = {n: v for n, v in server.env.items() if not n.startswith("PIPEGUARD_")}
        named = {n: os.environ[n] for n in server.env_names if n in os.environ}
        merged = variables | named | {n: os.path.expandvars(v) for n, v in passed.items()}
        return resolve_variables(merged)
    real = Path.home()
    for name, place in _HOMES.items():
        if name in ("HOME", "TMPDIR") or name in variables:
            folder = user_folder / place
            folder.mkdir(parents=True, exist_ok=True)
            variables[name] = str(folder)
    for name, place in _CACHES.items():
        if (real / place).is_dir():
            variables[name] = str(real / place)
    for name, value in server.env.items():
        expanded = _PROJECT.sub(lambda _: str(root), value)
        is_withheld = is_secret(name, expanded) or _REFERENCE.search(expanded) or name in _HOMES
        if not is_withheld and not name.startswith("PIPEGUARD_"):
            variables[name] = expanded
    return variables


@contextmanager
def _remote_channel(
    server: ServerEntry, url: str, options: ConnectOptions, policy: Policy
) -> Iterator[Channel]:
    from pipeguard.runtime.connect import RemoteServer

    transport = server.guard.transport if server.guard else server.transport
    values = {"--upstream": url}
    if transport in (Transport.SSE, Transport.WEBSOCKET):
        values["--transport"] = transport.value
    headers = _headers(server) if options.credentials else []
    wrap_options = WrapOptions((), values, {"--header": headers}, ["--secret-arguments"])
    remote = RemoteServer(wrap_options, logs_in=options.credentials)
    try:
        channel = remote.channel(policy.limits.frame_bytes)
        try:
            yield channel
        finally:
            remote.end(0.0)
    finally:
        remote.close()


def _headers(server: ServerEntry) -> Sequence[str]:
    """The entry's headers, without references that only its client can resolve."""
    headers = server.headers
    if server.guard:
        named = server.guard.headers
        headers = {name: server.env.get(variable, "") for name, variable in named.items()}
    expanded = {name: os.path.expandvars(value) for name, value in headers.items()}
    usable = {n: v for n, v in expanded.items() if v and not _REFERENCE.search(v)}
    if refers(usable.values()):
        usable = {n: resolve(v, f"the header {n}") for n, v in usable.items()}
    return [f"{n}: {v}" for n, v in usable.items()]


# --- one call ---------------------------------------------------------------------------


class TriedCall(NamedTuple):
    """A call of a guarded server's tool, as its client would get it.

    Attributes:
        answer: the answer, as PipeGuard forwarded it, if any.
        problem: why no answer came, or empty.
        seconds: from the start of the server to the answer.
    """

    answer: json_values.JsonObject | None
    problem: str
    seconds: float


def call_guarded(
    server: ServerEntry,
    machine: Machine,
    call: tuple[str, Mapping[str, object]],
    client: str,
    limit_seconds: float = LIMIT_SECONDS,
) -> TriedCall:
    """Start the server of a guarded entry as its client would, and call one tool.

    Runs `pipeguard wrap` of this installation instead of the one in the entry, with the entry's own
    options: it judges and records the call like any other.

    Args:
        server: the guarded entry.
        machine: the machine of the entry.
        call: the tool's name and the arguments.
        client: the name of the client that calls.
        limit_seconds: for all of it.
    """
    assert server.guard  # noqa: S101  the caller's
    words = [*OWN_LAUNCHER, *server.words[len(server.guard.launcher) :]]
    root = server.project or machine.project or machine.home
    named = {name: os.environ[name] for name in server.env_names if name in os.environ}
    own = {name: os.path.expandvars(value) for name, value in server.env.items()}
    command = Command(words, {**os.environ, **named, **own}, str(root / server.cwd))
    with _deep_stacks(), ThreadPoolExecutor(1, "call") as pool:
        return pool.submit(_try_call, command, call, client, limit_seconds).result()


def _try_call(
    command: Command, call: tuple[str, Mapping[str, object]], client: str, limit_seconds: float
) -> TriedCall:
    began = monotonic()
    over = Event()
    answer = None
    problem = ""
    try:
        with (
            run_child(command, framing.DEFAULT_LIMIT_BYTES, CALL_END_SECONDS) as channel,
            close_in_time(channel, over, limit_seconds),
        ):
            exchange = ServerDialogue(channel, over.is_set, client=client)
            exchange.open()
            exchange.request("tools/list", {})
            name, arguments = call
            params = {"name": name, "arguments": arguments}
            answer = exchange.request("tools/call", params)
    except ConversationEnded as ended:
        problem = str(ended)
    except ChannelClosed:
        problem = "It did not answer in time." if over.is_set() else "It hung up."
    except (PipeGuardError, OSError) as error:
        problem = f"It could not be started: {masked_text(str(error))}"
    return TriedCall(answer, problem, monotonic() - began)


def find_pins(
    target: AssessmentTarget, server: ServerEntry
) -> tuple[str, dict[tuple[str, str], Pin]]:
    """Return the name under which a server's pins are stored, and the pins, if there is a store.

    Raises:
        StateError: the store cannot be read.
    """
    if not target.store:
        return pins_name(None, server), {}
    with open_store(target.store) as store:
        name = pins_name(store, server)
        return name, store.pins(name)
