"""Decides which entries can be guarded, and computes their guarded or open fields.

Works on values, before any text: the result is a new set of fields, with the old field that each
new one replaces. `edit` makes the same change in the text.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeguard._isolate import IMPORT_VARIABLES
from pipeguard.auth.server import canonical
from pipeguard.clients.catalog import ConfigScope, Shape, Transport
from pipeguard.clients.entries import GuardState, Keys, ServerEntry
from pipeguard.clients.guarding import (
    HEADER_PREFIX,
    GuardedCommand,
    find_listener,
    gateway_launcher,
    is_stale,
    list_words,
    needs_token,
    with_isolation,
)
from pipeguard.clients.isolating import CANNOT_ISOLATE, HOW, instead, is_isolated, obstacle
from pipeguard.clients.launcher import isolate_launcher
from pipeguard.clients.masking import has_secret, masked_url, split_parts
from pipeguard.config.isolate_key import IsolateEntries
from pipeguard.config.tree import Value
from pipeguard.errors import InputError

if TYPE_CHECKING:
    from pipeguard.runtime.start import RunningGuard

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "[::1]"}
_COMMAND_LINE = re.compile(r"[\w.@-]+\s+\S")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_SCHEMES = ("http", "https", "ws", "wss")
_PIPED = re.compile(
    r"(?:\b(?:curl|wget|fetch|iwr|irm|Invoke-WebRequest|Invoke-RestMethod)\b[^|;&\n]*"
    r"\|\s*(?:sudo\s+)?(?:(?:ba|z|da|k|a)?sh|python[\d.]*|node|perl|ruby|iex|Invoke-Expression)\b)"
    r"|(?:\b(?:sh|bash|zsh|source|eval|iex)\b[^|;&\n]{0,40}[<$]\(\s*(?:curl|wget|iwr|irm)\b)"
    # the target of a download, and code that reads from an address
    r"|(?:\b(?:curl|wget|iwr)\b[^|;&\n]{0,300}\s"
    r"(?:-[A-Za-z]{0,9}o|--output(?:-document)?|-OutFile)[\s=]{0,9}[\"']?"
    r"(?P<file>[^\s\"';&|]{1,200})(?![^\s\"';&|])[^\n]{0,300}?(?:;|&&)\s{0,9}(?:sudo\s+)?"
    r"(?:(?:\.|source|exec|(?:ba|z|da|k|a)?sh|python[\d.]*|node|perl|ruby)\s+)?[\"']?"
    r"(?P=file)(?![^\s\"';&|]))"
    r"|(?:\b(?:exec|eval)\s*\(\s*[^\n]{0,200}?\b(?:urlopen|requests\.get|httpx\.get|fetch)\b)",
    re.IGNORECASE,
)
_WHY_NOT_PIPED = (
    "its command downloads something and runs it at once, which a guard does not see: install the "
    "server, look at what was installed, and write its own command here"
)


class GuardOptions(NamedTuple):
    """The choices of the person who runs setup.

    Attributes:
        names: only these servers; empty for all.
        scopes: only servers of these scopes.
        shared: a file in a repository may be changed, with a launcher from the PATH.
        no_login: remote servers without credentials need no login, so their client's own login,
            which a guarded server loses, is not needed.
        expose_urls: an address with a secret may be visible in the list of processes.
        isolate: isolate servers that are started here.
        entries: the isolation entries of the user's policy, if servers are isolated.
        is_logged_in: whether PipeGuard itself has a login for an address.
        renamed: names that replace those of the entries, by file and path.
    """

    names: Collection[str] = ()
    scopes: Collection[ConfigScope] = tuple(ConfigScope)
    shared: bool = False
    no_login: bool = False
    expose_urls: bool = False
    isolate: bool = False
    entries: IsolateEntries | None = None
    is_logged_in: Callable[[str], bool] = lambda _url: False
    renamed: Mapping[tuple[Path, Keys], str] = {}

    def covers(self, server: ServerEntry) -> bool:
        """True if an entry is enabled, or chosen by its name."""
        return not server.off or bool(self.names)


class JudgedServer(NamedTuple):
    """A server, and whether it is or would be guarded.

    Attributes:
        state: the entry's state.
        code: why, as one word for programs; empty for a guarded or open entry.
        why: the reason for people.
        chosen: a person asked for it.
        isolates: whether it would be isolated if it is guarded.
        renamed: the name that it would get, or should have; empty to keep its own.
    """

    server: ServerEntry
    state: GuardState
    code: str = ""
    why: str = ""
    chosen: bool = True
    isolates: bool = False
    renamed: str = ""

    @property
    def is_to_do(self) -> bool:
        """True if setup would guard it now."""
        return self.chosen and self.state in TO_DO

    @property
    def is_to_isolate(self) -> bool:
        """True if setup would isolate it now."""
        return self.is_to_do and self.isolates


Judgements = Iterator[JudgedServer]
TO_DO = (GuardState.OPEN, GuardState.STALE)
NOT_ISOLATED = "not-isolated"  # the code of a guarded server that is to be isolated, too


class NewFields(NamedTuple):
    """An entry's new fields.

    Attributes:
        fields: all its fields; unchanged ones with their present values.
        heirs: for a removed field, the new fields that replace it.
        after: for a new field that replaces none, the field that it follows.
    """

    fields: Mapping[str, Value]
    heirs: Mapping[str, tuple[str, ...]] = {}
    after: Mapping[str, str] = {}


def judge(server: ServerEntry, options: GuardOptions) -> JudgedServer:
    """Decide whether an entry is guarded, open, or cannot be guarded and why."""
    return next(_judgements(server, options), JudgedServer(server, GuardState.OPEN))


def guarded_fields(
    server: ServerEntry, launcher: Sequence[str], *, isolate: bool = False, name: str = ""
) -> NewFields:
    """The guarded fields of an open entry; or those of a stale one, with a new launcher.

    Args:
        server: the entry.
        launcher: the words that start PipeGuard; a guard that is not stale keeps its own.
        isolate: whether its server is isolated.
        name: the value of `--name` for a started server; empty for the entry's own.
    """
    if {*server.env, *server.env_names}.intersection(IMPORT_VARIABLES):
        launcher = isolate_launcher(launcher)
    if server.guard:
        words = with_isolation(_listed_words(server), HOW) if isolate else _listed_words(server)
        if server.guard.is_stale:
            words = [*launcher, *words[len(server.guard.launcher) :]]
        return _with_words(server, words)
    if server.command is not None:
        engine = HOW if isolate else None
        guard = GuardedCommand(tuple(launcher), name=name or server.name, isolate=engine)
        names = [*server.env, *server.env_names]
        return _with_words(server, [*list_words(guard, names), *_listed_words(server)])
    return _from_remote(server, launcher)


def open_fields(server: ServerEntry) -> NewFields:
    """Return the fields of a guarded entry without its guard, from the guard's own words.

    A remote entry's original kind is lost: it gets the client's usual one.
    """
    guard = server.guard
    assert guard  # noqa: S101  callers have checked it
    if guard.url is None:
        return _with_words(server, list(guard.command))
    shape = server.shape
    new = dict(server.fields)
    headers = {k: server.env[v] for k, v in guard.headers.items() if v in server.env}
    if guard.bearer and guard.bearer in server.env and not shape.bearer_env:
        headers["Authorization"] = f"Bearer {server.env[guard.bearer]}"
    passed = {k: v for k, v in guard.headers.items() if v not in server.env}
    names = {*passed.values(), guard.bearer}
    ranks = {guard.transport or Transport.HTTP: 0, None: 1}
    url_key = min(shape.urls, key=lambda key: ranks.get(shape.urls[key], 2))
    for key in (shape.command, shape.args):
        new.pop(key, None)
    new[url_key] = guard.url
    heirs = [url_key]
    if guard.bearer and shape.bearer_env:
        new[shape.bearer_env] = guard.bearer
        heirs.append(shape.bearer_env)
    if passed and shape.headers_env:
        new[shape.headers_env] = passed
        heirs.append(shape.headers_env)
    if headers:
        _set(new, shape.headers, headers)
        heirs.append(shape.headers[0])
    told = {*guard.headers.values(), None if shape.bearer_env else guard.bearer}
    env = {k: v for k, v in server.env.items() if k not in told}
    _set_or_remove(new, shape.env, env)
    if shape.env_names:
        remaining = [name for name in server.env_names if name not in names]
        _set_or_remove(new, shape.env_names, remaining)
    word = shape.words[guard.transport or Transport.HTTP][0]
    if guard.transport not in (None, shape.urls[url_key], shape.untold) and shape.kinds:
        new.setdefault(shape.kinds[0], word)
    _name_kind(new, shape, word)
    return NewFields(new, {shape.command: tuple(heirs)})


def _cannot(server: ServerEntry, code: str, why: str) -> JudgedServer:
    return JudgedServer(server, GuardState.CANNOT, code, why)


def _judgements(server: ServerEntry, options: GuardOptions) -> Judgements:
    """Yield the judgements that apply to an entry, the decisive one first; none if it is open."""
    if server.guard:
        yield from _of_guard(server, server.guard, options)
    if launcher := gateway_launcher(server.words):
        yield _of_gateway(server, launcher)
    # A project's file is the same on every machine; the listener there is not.
    if server.scope is not ConfigScope.PROJECT and (guard := find_listener(server.url)):
        yield _of_listener(server, guard)
    yield from _not_the_users(server)
    if server.odd:
        yield _cannot(server, "odd", server.odd)
    if not options.covers(server):
        yield JudgedServer(server, GuardState.LEFT, "off", "switched off")
    if server.command is not None:
        yield from _of_command(server, server.command)
        if is_to_isolate(server, options):
            yield from _of_isolation(server, options)
    elif server.url is not None:
        yield from _of_address(server, server.url, options)
        yield from _of_login(server, server.url, options)
    elif server.shape.command in server.fields:
        yield _cannot(server, "odd", "its command is not a text")
    else:
        yield JudgedServer(
            server, GuardState.LEFT, "no-server", "it has neither a command nor an address"
        )


def _of_guard(server: ServerEntry, guard: GuardedCommand, options: GuardOptions) -> Judgements:
    if guard.is_stale:
        why = f"its launcher no longer exists: {guard.launcher[0]}"
        yield JudgedServer(server, GuardState.STALE, "stale-launcher", why)
    if is_to_isolate(server, options):
        yield from _of_isolation(server, options)
        yield JudgedServer(server, GuardState.OPEN, NOT_ISOLATED)
    yield _of_listener(server, find_listener(guard.url, "serve"))


def _of_listener(server: ServerEntry, listener: RunningGuard | None) -> JudgedServer:
    """Judge a guarded entry by the guard that listens at its address."""
    if listener is None or listener.verb != "serve":
        return JudgedServer(server, GuardState.GUARDED)
    why = "guarded by the gateway"
    if not server.has_authorization and needs_token(listener):
        make = "pipeguard tokens create NAME"
        how = "as the header `Authorization: Bearer TOKEN`" if server.url else "by --bearer-env"
        why += f", which refuses it without a token: give it one {how}, from `{make}`"
    return JudgedServer(server, GuardState.GUARDED, why=why)


def is_to_isolate(server: ServerEntry, options: GuardOptions) -> bool:
    """True if a person asks to isolate an entry, and it is not isolated."""
    is_asked = options.isolate and options.covers(server)
    return is_asked and bool(server.own_words) and not is_isolated(server.guard)


def _of_isolation(server: ServerEntry, options: GuardOptions) -> Judgements:
    if why := obstacle(server, options.entries):
        yield _cannot(server, CANNOT_ISOLATE, why + instead(server))


def _of_gateway(server: ServerEntry, launcher: Sequence[str]) -> JudgedServer:
    """Judge an entry that runs `pipeguard serve`, which guards the servers behind it."""
    if not is_stale(launcher):
        return JudgedServer(server, GuardState.GUARDED)
    why = f"its launcher no longer exists: {launcher[0]}; fix it with --gateway"
    return _cannot(server, "stale-launcher", why)


def _not_the_users(server: ServerEntry) -> Judgements:
    shape = server.shape
    for key in shape.kinds:
        if (kind := str(server.fields.get(key))) in shape.builtin:
            yield JudgedServer(server, GuardState.LEFT, "builtin", shape.builtin[kind])
    for key, why in shape.fixed.items():
        if server.fields.get(key) in (True, "true"):
            yield JudgedServer(server, GuardState.LEFT, "not-yours", why)


def _of_command(server: ServerEntry, command: str) -> Judgements:
    if not command.strip():
        yield _cannot(server, "odd", "its command is empty")
    looks_like_path = command.startswith(("/", ".", "~", "$", "\\", "%")) or command[1:2] == ":"
    if not server.args and not looks_like_path and _COMMAND_LINE.match(command):
        why = "its command is a whole line; split it into a command and its arguments"
        yield _cannot(server, "command-line", why)
    if not _keeps_meaning(server.shape, command, "command", "args"):
        why = "its command has a variable, which this client expands there but not in arguments"
        yield _cannot(server, "variable", why)
    if find_piped(server.words):
        yield _cannot(server, "download-run", _WHY_NOT_PIPED)


def _of_address(server: ServerEntry, url: str, options: GuardOptions) -> Judgements:
    shape = server.shape
    for key, why in shape.foreign.items():
        if key in server.fields:
            yield _cannot(server, "foreign", why)
    if not _keeps_meaning(shape, url, "url", "args"):
        why = "its address has a variable, which this client does not expand in arguments"
        yield _cannot(server, "variable", why)
    variable = re.match(shape.variable, url)
    scheme = url.partition(":")[0].lower()
    if split_parts(url) is None or (scheme not in _SCHEMES and not variable):
        yield _cannot(server, "address", "its address is neither http nor ws")
    elif not options.expose_urls and has_secret(url, shape.variable):
        why = (
            "its address contains a secret, which the list of processes would show: put it into a "
            "header, or move the server by --gateway"
        )
        yield _cannot(server, "secret-in-url", why)
    if shape.personal and re.search(shape.personal, " ".join((url, *server.headers.values()))):
        why = "its client fills in data of each of its users"
        yield _cannot(server, "per-user", why)
    if wrong := next((name for name in server.headers if not _TOKEN.fullmatch(name)), None):
        why = f"{wrong!r} is not a name for a header (RFC 9110)"
        yield _cannot(server, "header", why)
    # A header's variable must move to a field where the client expands it, and a plain value to one
    # where it does not.
    for name, value in server.headers.items():
        if not _keeps_meaning(shape, value, "headers", "env"):
            why = f"the header {name} has a variable, which this client does not expand in env"
            yield _cannot(server, "variable", why)


def _of_login(server: ServerEntry, url: str, options: GuardOptions) -> Judgements:
    if options.no_login or options.is_logged_in(url):
        return
    shape = server.shape
    if any(server.fields.get(key) not in (None, False, "false") for key in shape.login):
        why = f"its client logs in to it (OAuth), and cannot through PipeGuard; {_login_hint(url)}"
        yield _cannot(server, "login", why)
    named = filter(None, (shape.headers_env, shape.bearer_env))
    has_credentials = server.headers or any(server.fields.get(key) for key in named)
    parts = split_parts(url)
    if not has_credentials and (parts is None or parts.hostname not in _LOOPBACK):
        why = (
            "it has no credentials here, and its client may log in by OAuth, which it cannot do "
            f"through PipeGuard; {_login_hint(url)}; if it needs no login, add --no-login"
        )
        yield _cannot(server, "login", why)


def login_command(url: str) -> tuple[str, ...]:
    """Return the command that logs in to an address; empty if PipeGuard would refuse."""
    try:
        canonical(url)
    except InputError:
        return ()
    return ("pipeguard", "auth", "login", url)


def _login_hint(url: str) -> str:
    if login_command(url):
        return f"log in yourself first: pipeguard auth login {shlex.quote(masked_url(url))}"
    return "PipeGuard logs in over https only, so give the server's https address here"


def find_piped(words: Sequence[str]) -> bool:
    """True if a command runs a download: through a pipe, from a file, or by `exec`."""
    return any(_PIPED.search(word) for word in (*words, " ".join(words)))


def _keeps_meaning(shape: Shape, value: str, field_now: str, field_then: str) -> bool:
    """True if a value means the same in another field, which may expand variables differently."""
    if (field_now in shape.expands) == (field_then in shape.expands):
        return True
    return re.search(shape.variable, value) is None and "$" not in value


def _from_remote(server: ServerEntry, launcher: Sequence[str]) -> NewFields:
    shape = server.shape
    new = dict(server.fields)
    own_env = server.fields.get(shape.env)
    env: dict[str, Value] = dict(own_env) if isinstance(own_env, Mapping) else {}
    headers = {}
    count = 0
    for name, value in server.headers.items():
        count += 1
        while f"{HEADER_PREFIX}{count}" in env:
            count += 1
        headers[name] = f"{HEADER_PREFIX}{count}"
        env[headers[name]] = value
    names = list(server.env_names)
    if shape.headers_env and isinstance(by_name := new.pop(shape.headers_env, None), Mapping):
        headers |= {str(name): str(variable) for name, variable in by_name.items()}
        names += map(str, by_name.values())
    bearer = new.pop(shape.bearer_env, None) if shape.bearer_env else None
    names += [str(bearer)] if bearer else []
    guard = GuardedCommand(
        tuple(launcher),
        url=server.url or "",
        transport=server.transport,
        headers=headers,
        bearer=str(bearer) if bearer else None,
        name=server.name,
    )
    words = list_words(guard)
    heirs: dict[str, tuple[str, ...]] = {server.url_key: (shape.command, shape.args)}
    for key in (*shape.urls, *shape.login, *shape.gone, shape.headers[0]):
        new.pop(key, None)
    new |= (
        {shape.command: words[0], shape.args: words[1:]} if shape.args else {shape.command: words}
    )
    if headers and len(env) > len(server.env):
        new[shape.env] = env
        heirs[shape.headers[0]] = (shape.env,)
    if shape.env_names and (names := list(dict.fromkeys(names))):
        new[shape.env_names] = names
        heirs[shape.bearer_env or shape.headers_env or server.url_key] = (shape.env_names,)
    _name_kind(new, shape, shape.stdio)
    after = {shape.env: shape.args or shape.command, shape.env_names: shape.args}
    return NewFields(new, heirs, after)


def _name_kind(new: dict[str, Value], shape: Shape, word: str) -> None:
    """Change the kind in an entry that names one; remove it if the client has no word for it."""
    for key in shape.kinds:
        if key in new:
            if word:
                new[key] = word
            else:
                del new[key]
    if shape.kind_needed and shape.kinds[0] not in new:
        new[shape.kinds[0]] = word


def _with_words(server: ServerEntry, words: Sequence[Value]) -> NewFields:
    shape = server.shape
    new = dict(server.fields)
    if not shape.args:
        new[shape.command] = list(words)
        return NewFields(new)
    new[shape.command] = words[0]
    if words[1:]:
        new[shape.args] = list(words[1:])
    else:
        new.pop(shape.args, None)
    return NewFields(new, after={shape.args: shape.command})


def _listed_words(server: ServerEntry) -> list[Value]:
    """The words with the file's own types: a number among the arguments stays a number."""
    shape = server.shape
    command = server.fields[shape.command]
    if not shape.args:
        return list(command) if isinstance(command, Sequence) else []
    args = server.fields.get(shape.args)
    if isinstance(args, str) or not isinstance(args, Sequence):
        return [command]
    return [command, *args]


def _set_or_remove(new: dict[str, Value], key: str, value: Value) -> None:
    """Set a field that exists, or remove it if the value is empty."""
    if not value:
        new.pop(key, None)
    elif key in new:
        new[key] = value


def _set(new: dict[str, Value], path: Sequence[str], value: Value) -> None:
    """Set the field at a path of keys."""
    for key in reversed(path[1:]):
        value = {key: value}
    new[path[0]] = value
