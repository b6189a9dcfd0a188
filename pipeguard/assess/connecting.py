"""Servers started, or called, to be asked what they offer: many at once, each for a limited time.

Each gets a home folder of its own, which is empty and goes afterwards, and no credential: not a
sandbox, since it runs as you do, but nothing is lost by its mere asking.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Timer
from time import monotonic

from pipeguard.assess.contents import Contents
from pipeguard.assess.conversation import RUN, Conversation
from pipeguard.assess.pins import name_in, pins_of
from pipeguard.assess.target import AssessmentTarget, ServerKey, key_of
from pipeguard.auth.secrets import all_resolved, resolved
from pipeguard.clients.catalog import ConfigScope, Transport
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.masking import is_secret, masked_text
from pipeguard.config.directories import cache_folder
from pipeguard.config.options import WrapOptions
from pipeguard.core.protocol.strict_json import STACK_BYTES
from pipeguard.core.rules.policy import Mode, Policy, Trust
from pipeguard.core.session.guard import Guard
from pipeguard.core.session.session import Session
from pipeguard.errors import PipeGuardError
from pipeguard.launch.child import Command, start
from pipeguard.launch.environment import child_environment, refers
from pipeguard.runtime.run import start_thread
from pipeguard.transports.channel import Channel
from pipeguard.transports.stdio import LineChannel

LIMIT_SECONDS = 30.0  # for one server; package runners may have to unpack first
MOST_AT_ONCE = 8
END_SECONDS = 1.0  # that a server has for its end
READ_BYTES = 16 * 1024
KEY_BYTES = 32
_REFERENCE = re.compile(r"\$\{[^}]*\}|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|\{\{.*?\}\}")
_PROJECT = re.compile(r"\$\{(?:workspaceFolder|workspaceRoot|CLAUDE_PROJECT_DIR)[^}]*\}")
# Where package runners keep what they fetched once; with an empty one each start would fetch anew.
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


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """How servers are asked.

    Attributes:
        limit_seconds: for each of them.
        credentials: with your home folder, all that the entries set, and the logins of ours.
        at_once: how many at the same time.
    """

    limit_seconds: float = LIMIT_SECONDS
    credentials: bool = False
    at_once: int = MOST_AT_ONCE


def connect(
    subject: AssessmentTarget,
    how: ConnectOptions,
    policy: Policy,
    tell: Callable[[int, int, str], None],
) -> dict[ServerKey, Contents]:
    """Ask every server of a subject; the same one in several files once.

    Args:
        subject: whose servers.
        how: for how long, and with what.
        policy: by which what they say is judged; nothing is only observed.
        tell: told after each: how many are done, how many there are, and its name.
    """
    alike: dict[object, list[ServerEntry]] = {}
    for server in subject.servers:
        alike.setdefault(_identity(server), []).append(server)
    policy = policy._replace(mode=Mode.ENFORCE)
    judging = Lock()
    found: dict[ServerKey, Contents] = {}
    with _deep_stacks(), ThreadPoolExecutor(how.at_once, "assess") as pool:
        asked = {
            pool.submit(_contents, subject, servers[0], how, policy, judging): servers
            for servers in alike.values()
        }
        try:
            for done, future in enumerate(as_completed(asked), 1):
                servers = asked[future]
                found |= {key_of(server): future.result() for server in servers}
                tell(done, len(asked), servers[0].name)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # those that were not begun
            raise
    return found


def _identity(server: ServerEntry) -> object:
    env = tuple(sorted(server.env.items()))
    return server.own_words, server.own_url, env, server.cwd, server.scope is ConfigScope.PROJECT


@contextmanager
def _deep_stacks() -> Iterator[None]:
    """Threads whose stack holds the deepest message that is parsed."""
    import threading

    before = threading.stack_size(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)


def _contents(
    subject: AssessmentTarget,
    server: ServerEntry,
    how: ConnectOptions,
    policy: Policy,
    judging: Lock,
) -> Contents:
    began = monotonic()
    over = Event()
    try:
        with ExitStack() as stack:
            if server.own_url:
                channel = stack.enter_context(_called(server, server.own_url, how, policy))
            else:
                channel = stack.enter_context(_started(subject, server, how, policy))

            def stop() -> None:
                over.set()
                channel.close()

            timer = Timer(how.limit_seconds, stop)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
            session = _session(subject, server, policy)
            contents = Conversation(channel, session, judging, over.is_set).hold()
    except (PipeGuardError, OSError) as error:
        why = str(error).splitlines()[0].partition(" (")[0].rstrip(".")
        contents = Contents(f"It could not be asked: {masked_text(why)}.")
    return replace(contents, seconds=monotonic() - began)


def _session(subject: AssessmentTarget, server: ServerEntry, policy: Policy) -> Session:
    """It knows the server's pins, so that a change is seen; what is new is only looked through."""
    policy = policy._replace(trust=Trust.FIRST_USE)
    pins = pins_of(subject, server)
    key = os.urandom(KEY_BYTES)
    return Session(Guard(name_in(subject, server), subject.engines, policy, pins, key), RUN)


@contextmanager
def _started(
    subject: AssessmentTarget, server: ServerEntry, how: ConnectOptions, policy: Policy
) -> Iterator[Channel]:
    root = _root(subject, server)
    with _own_folder() as folder:
        home = Path.home() if how.credentials else Path(folder)
        words = [_PROJECT.sub(lambda _: str(root), word) for word in server.own_words]
        environment = _environment(server, home, root, how)
        cwd = Path(os.path.expandvars(_PROJECT.sub(lambda _: str(root), server.cwd)) or home)
        if not server.cwd and server.scope is ConfigScope.PROJECT:
            cwd = root
        child = start(Command(words, environment, str(root / cwd)))
        try:
            child.wait_started()
            drain = start_thread("stderr", lambda: _drain(child.stderr_fd))
            channel = LineChannel(child.stdout_fd, child.stdin_fd, policy.limits.frame_bytes)
            try:
                yield channel
            finally:
                channel.close()
                child.end(END_SECONDS)
                drain.join(END_SECONDS)
        finally:
            child.close()


@contextmanager
def _own_folder() -> Iterator[str]:
    """An empty folder below those of this user.

    Package runners also take packages and settings that stand in a folder above the one that they
    are started in, and in the system's temporary folder every user may put some. npm looks no
    further up than to a folder of packages, so one stands beside it.
    """
    above = Path(cache_folder())
    above.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="assess-", dir=above, ignore_cleanup_errors=True
    ) as folder:
        for inner in ("node_modules", "home"):
            Path(folder, inner).mkdir()
        yield str(Path(folder, "home"))


def _drain(descriptor: int) -> None:
    """What it writes on standard error is read, so that it does not wait, and shown to nobody."""
    with suppress(OSError):
        while os.read(descriptor, READ_BYTES):
            pass


def _root(subject: AssessmentTarget, server: ServerEntry) -> Path:
    """The folder that a project's entry is relative to."""
    if server.scope is not ConfigScope.PROJECT:
        return subject.root or subject.machine.project or subject.machine.home
    folder = server.file.parent
    return folder.parent if folder.name.startswith(".") else folder


def _environment(
    server: ServerEntry, home: Path, root: Path, how: ConnectOptions
) -> dict[str, str]:
    variables = child_environment(os.environ, os.environ).variables
    if how.credentials:
        passed = {n: v for n, v in server.env.items() if not n.startswith("PIPEGUARD_")}
        named = {n: os.environ[n] for n in server.env_names if n in os.environ}
        given = variables | named | {n: os.path.expandvars(v) for n, v in passed.items()}
        return all_resolved(given) if refers(given) else given
    real = Path.home()
    for name, place in _HOMES.items():
        if name in ("HOME", "TMPDIR") or name in variables:
            folder = home / place
            folder.mkdir(parents=True, exist_ok=True)
            variables[name] = str(folder)
    for name, place in _CACHES.items():
        if (real / place).is_dir():
            variables[name] = str(real / place)
    for name, value in server.env.items():
        told = _PROJECT.sub(lambda _: str(root), value)
        withheld = is_secret(name, told) or _REFERENCE.search(told) or name in _HOMES
        if not withheld and not name.startswith("PIPEGUARD_"):
            variables[name] = told
    return variables


@contextmanager
def _called(
    server: ServerEntry, url: str, how: ConnectOptions, policy: Policy
) -> Iterator[Channel]:
    from pipeguard.runtime.stdio_to_http import RemoteServer

    transport = server.guard.transport if server.guard else server.transport
    values = {"--upstream": url}
    if transport in (Transport.SSE, Transport.WEBSOCKET):
        values["--transport"] = transport.value
    headers = _headers(server) if how.credentials else []
    options = WrapOptions((), values, {"--header": headers}, ["--secret-arguments"])
    remote = RemoteServer(options, logs_in=how.credentials)
    try:
        channel = remote.channel(policy.limits.frame_bytes)
        try:
            yield channel
        finally:
            remote.end(0.0)
    finally:
        remote.close()


def _headers(server: ServerEntry) -> Sequence[str]:
    """As the entry gives them; a reference that only its client can follow is left out."""
    given: Mapping[str, str] = server.headers
    if server.guard is not None:
        named = server.guard.headers
        given = {name: server.env.get(variable, "") for name, variable in named.items()}
    expanded = {name: os.path.expandvars(value) for name, value in given.items()}
    known = {n: v for n, v in expanded.items() if v and not _REFERENCE.search(v)}
    if refers(known):
        known = {n: resolved(v, f"the header {n}") for n, v in known.items()}
    return [f"{n}: {v}" for n, v in known.items()]
