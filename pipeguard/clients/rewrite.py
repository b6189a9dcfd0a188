"""From an entry to its guarded form, and back by its meaning; as values, before any text.

Decides what may be guarded. What an entry becomes is a new set of fields, and which new field
takes the place of which old one; `edit` does the same to the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pipeguard.clients.catalog import ConfigScope, Shape, Transport
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.guarding import HEADER_PREFIX, remote, started
from pipeguard.clients.masking import is_secret
from pipeguard.clients.tree import Value

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_COMMAND_LINE = re.compile(r"[\w.@-]+\s+\S")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_SCHEMES = ("http", "https", "ws", "wss")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asks for.

    Attributes:
        names: only these servers; empty for all.
        scopes: only servers of these.
        shared: a file that git has may be changed, with a launcher that is found on the PATH.
        no_login: remote servers without credentials ask for none, so their client's login, which
            ends, is not missed.
        off: guard what is switched off as well.
        expose_urls: an address with a secret in it may stand in the list of processes.
        is_logged_in: whether PipeGuard itself holds a login for an address.
    """

    names: Collection[str] = ()
    scopes: Collection[ConfigScope] = tuple(ConfigScope)
    shared: bool = False
    no_login: bool = False
    off: bool = False
    expose_urls: bool = False
    is_logged_in: Callable[[str], bool] = lambda _url: False


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether an entry is guarded, and if not whether it can be.

    Attributes:
        state: one of five.
        code: why, as one word for programs; empty where there is nothing to say.
        why: the same for people.
    """

    state: GuardState
    code: str = ""
    why: str = ""


_GUARDED = Judgement(GuardState.GUARDED)


@dataclass(frozen=True, slots=True)
class NewFields:
    """What becomes of an entry.

    Attributes:
        fields: all its fields, those that stay with the value they have.
        heirs: for a field that goes, those that take its place.
        after: for a new field without such a place, the field that it follows.
    """

    fields: Mapping[str, Value]
    heirs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)


def judge(server: ServerEntry, wishes: Wishes) -> Judgement:
    """Say whether an entry is guarded, open, or cannot be guarded and why."""
    return next(_judgements(server, wishes), Judgement(GuardState.OPEN))


def guarded_fields(server: ServerEntry, launcher: Sequence[str]) -> NewFields:
    """The fields of an entry that is open, guarded; or those of a stale one with a new launcher."""
    shape = server.shape
    if server.guard is not None:
        old = server.guard.launcher
        words: list[Value] = [*launcher, *_listed_words(server)[len(old) :]]
        return _with_words(server, words)
    if server.command is not None:
        names = [*server.env, *server.env_names]
        words = [*started(launcher, server.name, names, []), *_listed_words(server)]
        return _with_words(server, words)
    return _from_remote(server, shape, launcher)


def open_fields(server: ServerEntry) -> NewFields:
    """The fields of a guarded entry without the guard, by its meaning.

    The kind that a remote entry once named is not known any more: it is the client's usual one.
    """
    guard = server.guard
    assert guard is not None  # noqa: S101  whoever asks has looked
    if guard.url is None:
        return _with_words(server, list(guard.command))
    shape = server.shape
    new = dict(server.fields)
    headers = {k: server.env[v] for k, v in guard.headers.items() if v in server.env}
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
    _keep(new, shape.env, {k: v for k, v in server.env.items() if k not in guard.headers.values()})
    if shape.env_names:
        _keep(new, shape.env_names, [name for name in server.env_names if name not in names])
    word = shape.words[guard.transport or Transport.HTTP][0]
    if guard.transport not in (None, shape.urls[url_key], shape.untold) and shape.kinds:
        new.setdefault(shape.kinds[0], word)
    _name_kind(new, shape, word)
    return NewFields(new, {shape.command: tuple(heirs)})


def _judgements(server: ServerEntry, wishes: Wishes) -> Iterator[Judgement]:
    """All that there is to say of an entry, what decides first; nothing where it is just open."""
    shape = server.shape
    if server.guard is not None:
        stale = f"its launcher is gone: {server.guard.launcher[0]}"
        is_stale = server.guard.is_stale
        yield Judgement(GuardState.STALE, "stale-launcher", stale) if is_stale else _GUARDED
    for key in shape.kinds:
        if (kind := str(server.fields.get(key))) in shape.builtin:
            yield Judgement(GuardState.LEFT, "builtin", shape.builtin[kind])
    for key, why in shape.fixed.items():
        if server.fields.get(key) in (True, "true"):
            yield Judgement(GuardState.LEFT, "not-yours", why)
    if server.odd:
        yield Judgement(GuardState.CANNOT, "odd", server.odd)
    if server.off and not wishes.off:
        yield Judgement(GuardState.LEFT, "off", "switched off; --disabled guards it as well")
    if server.command is not None:
        yield from _of_started(server, server.command)
    elif server.url is not None:
        yield from _of_remote(server, server.url, wishes)
        yield from _of_login(server, server.url, wishes)
    elif shape.command in server.fields:
        yield Judgement(GuardState.CANNOT, "odd", "its command is no text")
    else:
        yield Judgement(GuardState.LEFT, "no-server", "it names neither a command nor an address")


def _of_started(server: ServerEntry, command: str) -> Iterator[Judgement]:
    if not command.strip():
        yield Judgement(GuardState.CANNOT, "odd", "its command is empty")
    looks_like_path = command.startswith(("/", ".", "~", "$", "\\", "%")) or command[1:2] == ":"
    if not server.args and not looks_like_path and _COMMAND_LINE.match(command):
        why = "its command is a whole line; split it into a command and its arguments"
        yield Judgement(GuardState.CANNOT, "command-line", why)
    if not _keeps(server.shape, command, "command", "args"):
        why = "its command holds a variable, which this client replaces there but not in arguments"
        yield Judgement(GuardState.CANNOT, "variable", why)


def _of_remote(server: ServerEntry, url: str, wishes: Wishes) -> Iterator[Judgement]:
    shape = server.shape
    for key, why in shape.foreign.items():
        if key in server.fields:
            yield Judgement(GuardState.CANNOT, "foreign", why)
    if not _keeps(shape, url, "url", "args"):
        why = "its address holds a variable, which this client does not replace in arguments"
        yield Judgement(GuardState.CANNOT, "variable", why)
    variable = re.match(shape.variable, url)
    scheme = url.partition(":")[0].lower()
    if _parts(url) is None or (scheme not in _SCHEMES and not variable):
        yield Judgement(GuardState.CANNOT, "address", "its address is neither http nor ws")
    elif not wishes.expose_urls and _has_secret(url, shape):
        why = (
            "its address holds a secret, which the list of processes would show: put it into a "
            "header, or add --expose-urls"
        )
        yield Judgement(GuardState.CANNOT, "secret-in-url", why)
    if shape.personal and re.search(shape.personal, " ".join((url, *server.headers.values()))):
        why = "it is asked with the data of each user of its client"
        yield Judgement(GuardState.CANNOT, "per-user", why)
    if wrong := next((name for name in server.headers if not _TOKEN.fullmatch(name)), None):
        yield Judgement(GuardState.CANNOT, "header", f"{wrong!r} is no name of a header (RFC 9110)")
    # A variable in a header goes where the client replaces it as well, and a plain value where
    # it does not.
    for name, value in server.headers.items():
        if not _keeps(shape, value, "headers", "env"):
            why = f"the header {name} holds a variable, which this client does not replace in env"
            yield Judgement(GuardState.CANNOT, "variable", why)


def _of_login(server: ServerEntry, url: str, wishes: Wishes) -> Iterator[Judgement]:
    if wishes.no_login or wishes.is_logged_in(url):
        return
    shape = server.shape
    if any(server.fields.get(key) not in (None, False, "false") for key in shape.login):
        why = "its client logs in to it (OAuth), and would not any more"
        yield Judgement(GuardState.CANNOT, "login", why)
    named = filter(None, (shape.headers_env, shape.bearer_env))
    has_credentials = server.headers or any(server.fields.get(key) for key in named)
    parts = _parts(url)
    if not has_credentials and (parts is None or parts.hostname not in _LOOPBACK):
        why = (
            "it has no credentials here, so its client may log in to it (OAuth), and would not "
            "any more; if it asks for no login, add --no-login"
        )
        yield Judgement(GuardState.CANNOT, "login", why)


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _keeps(shape: Shape, value: str, here: str, there: str) -> bool:
    """Whether a value means the same in another field: both are replaced in, or it has nothing."""
    if (here in shape.expands) == (there in shape.expands):
        return True
    return re.search(shape.variable, value) is None and "$" not in value


def _has_secret(url: str, shape: Shape) -> bool:
    parts = _parts(re.sub(shape.variable, "", url))  # a variable's value is not in the file
    if parts is None:
        return False
    if parts.password or (parts.username and is_secret("", parts.username)):
        return True
    pairs = parse_qsl(parts.query, keep_blank_values=False)
    return any(is_secret(name, value) for name, value in pairs) or any(
        is_secret("", part) for part in parts.path.split("/")
    )


def _from_remote(server: ServerEntry, shape: Shape, launcher: Sequence[str]) -> NewFields:
    new = dict(server.fields)
    given = server.fields.get(shape.env)
    env: dict[str, Value] = dict(given) if isinstance(given, Mapping) else {}
    headers: dict[str, str] = {}
    count = 0
    for name, value in server.headers.items():
        count += 1
        while f"{HEADER_PREFIX}{count}" in env:
            count += 1
        headers[name] = f"{HEADER_PREFIX}{count}"
        env[headers[name]] = value
    names = list(server.env_names)
    if shape.headers_env and isinstance(listed := new.pop(shape.headers_env, None), Mapping):
        headers |= {str(name): str(variable) for name, variable in listed.items()}
        names += map(str, listed.values())
    bearer = new.pop(shape.bearer_env, None) if shape.bearer_env else None
    names += [str(bearer)] if bearer else []
    bearer_name = str(bearer) if bearer else None
    words = remote(launcher, server.name, server.url or "", server.transport, headers, bearer_name)
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
    """Have an entry that names its kind name the new one, or none where there is no word for it."""
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
    """The words as the file has them: a number among the arguments stays one."""
    shape = server.shape
    command = server.fields[shape.command]
    if not shape.args:
        return list(command) if isinstance(command, Sequence) else []
    args = server.fields.get(shape.args)
    listed = list(args) if isinstance(args, Sequence) and not isinstance(args, str) else []
    return [command, *listed]


def _keep(new: dict[str, Value], key: str, value: Value) -> None:
    """Set a field where it is there, or take it out where nothing is left in it."""
    if not value:
        new.pop(key, None)
    elif key in new:
        new[key] = value


def _set(new: dict[str, Value], path: Sequence[str], value: Value) -> None:
    """Set what a path of keys leads to."""
    for key in reversed(path[1:]):
        value = {key: value}
    new[path[0]] = value
