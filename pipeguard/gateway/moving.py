"""Decides which servers of a client can move behind the gateway, and how its file describes them.

Works on values; reads and writes no file. A client fills in variables that a gateway of another
client may not have, which would then not start, and may restrict a server's tools: such a server
stays, so that nothing it may do changes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.guarding import find_listener, gateway_launcher
from pipeguard.clients.rewrite import GuardOptions, JudgedServer, judge
from pipeguard.clients.setting import OWN_GUARD
from pipeguard.config.tree import Value
from pipeguard.errors import PipeGuardError
from pipeguard.gateway.discovery import UNNAMEABLE
from pipeguard.state.tokens import PREFIX

NAME_CHARS = 50
_OURS = re.compile(r"\$\{env:[A-Za-z_]\w*\}")  # a variable in pipeguard.yaml
# Fields by which clients restrict a server's tools; ["*"] is all of them.
_RESTRICTS = re.compile(
    r"(?:disabled?|exclude[ds]?|include[ds]?|enabled|blocked|allowed)[-_]?tools|tools|tool_?filter",
    re.IGNORECASE,
)
_FROM_FILE = ("envFile", "env_file")
_WRITTEN_BY_SETUP = frozenset(
    {"--name", "--env", "--header-env", "--bearer-env", "--transport", "--upstream", "--cwd"}
)


class _ImmovableError(PipeGuardError):
    """A server that cannot move; the message says why.

    Attributes:
        code: the reason as one word, for programs.
    """

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


def judge_move(server: ServerEntry, options: GuardOptions) -> JudgedServer:
    """Decide whether a server is the gateway (guarded), can move (open), or cannot and why.

    Args:
        server: the client's entry.
        options: the choices of a person.
    """
    return next(_judgements(server, options), JudgedServer(server, GuardState.OPEN))


def _judgements(server: ServerEntry, options: GuardOptions) -> Iterator[JudgedServer]:
    """All judgements that apply to an entry, the decisive one first; empty if it can move."""
    # The gateway passes an address to nobody, so a secret in it is not exposed.
    judged = judge(server, options._replace(expose_urls=True))
    if launcher := gateway_launcher(server.words):
        gone = f"its launcher no longer exists: {launcher[0]}"
        is_gone = server.scope is ConfigScope.USER and judged.state is not GuardState.GUARDED
        yield JudgedServer(server, GuardState.STALE, "stale-launcher", gone) if is_gone else judged
    if find_listener(server.own_url, "serve"):  # it would call itself
        yield JudgedServer(server, GuardState.GUARDED)
    if any(PREFIX in value for value in (*server.headers.values(), *server.env.values())):
        why = "it has a token of a gateway, which says what this client may use there"
        yield JudgedServer(server, GuardState.CANNOT, "gateway-token", why)
    if server.scope is not ConfigScope.USER:
        why = "it applies to one folder, but the gateway serves its servers everywhere"
        yield JudgedServer(server, GuardState.CANNOT, "one-folder", why)
    if server.odd:
        yield JudgedServer(server, GuardState.CANNOT, "odd", server.odd)
    if not options.covers(server):
        yield JudgedServer(server, GuardState.LEFT, "off", "switched off")
    if judged.state not in (GuardState.OPEN, GuardState.GUARDED, GuardState.STALE):
        yield judged
    try:
        server_fields(server)
        _refuse_settings(server)
    except _ImmovableError as error:
        yield JudgedServer(server, GuardState.CANNOT, error.code, str(error))
    if server.guard is not None:
        yield JudgedServer(server, GuardState.OPEN, OWN_GUARD, "it has a guard of its own")


def gateway_name(server: ServerEntry) -> str:
    """A server's name in the gateway's file, which restricts names more than clients do."""
    return UNNAMEABLE.sub("-", server.name).strip("-._")[:NAME_CHARS] or "server"


def server_fields(server: ServerEntry) -> dict[str, Value]:
    """A server as the gateway's file describes it, without any guard.

    Raises:
        _ImmovableError: it would not mean the same there.
    """
    described = _describe_command(server) if server.own_words else _describe_address(server)
    if server.off:
        described["enabled"] = False
    return {key: value for key, value in described.items() if value not in ("", [], {})}


def _refuse_settings(server: ServerEntry) -> None:
    """Refuse settings that the gateway lacks.

    Raises:
        _ImmovableError: there is such a setting.
    """
    for key, value in server.fields.items():
        if _RESTRICTS.fullmatch(key) and value and value != ["*"]:
            raise _ImmovableError(
                "settings", f"its client restricts its tools ({key}), and the gateway would not"
            )
        if key in _FROM_FILE:
            raise _ImmovableError("settings", f"its client reads variables from a file ({key})")
    guard = server.guard
    if guard is None:
        return
    words = list(server.words[len(guard.launcher) + 1 :])
    words = words[: words.index("--")] if "--" in words else words
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = word.partition("=")[0]
        if name.startswith("--") and (
            name not in _WRITTEN_BY_SETUP or (name == "--env" and "=" in word + following)
        ):
            raise _ImmovableError(
                "settings",
                f"its guard has an option of its own ({name}), and the gateway would not",
            )


def _describe_command(server: ServerEntry) -> dict[str, Value]:
    command, *args = server.own_words
    env = {name: _check_text(server, "env", value) for name, value in server.env.items()}
    if passed := [name for name in server.env_names if name not in env]:
        raise _ImmovableError("variable", _why_not(passed[0]))
    folder = (server.guard.folder if server.guard else None) or server.cwd
    return {
        "command": _check_text(server, "command" if server.guard is None else "args", command),
        "args": [_check_text(server, "args", word) for word in args],
        "env": env,
        "cwd": _check_text(server, "cwd", folder),
    }


def _describe_address(server: ServerEntry) -> dict[str, Value]:
    transport = server.guard.transport if server.guard else server.transport
    field = "url" if server.guard is None else "args"
    return {
        "url": _check_text(server, field, server.own_url or ""),
        "headers": dict(_headers(server)),
        "transport": transport.value if transport else "",
    }


def _headers(server: ServerEntry) -> Iterator[tuple[str, str]]:
    shape, guard = server.shape, server.guard
    if guard is None:
        for name, value in server.headers.items():
            yield name, _check_text(server, "headers", value)
        by_name = server.fields.get(shape.headers_env) if shape.headers_env else None
        bearer = server.fields.get(shape.bearer_env) if shape.bearer_env else None
        named = by_name if isinstance(by_name, Mapping) else {}
    else:
        named, bearer = guard.headers, guard.bearer
    for name, variable in named.items():
        yield name, _read_variable(server, str(variable))
    if bearer:
        yield "Authorization", f"Bearer {_read_variable(server, str(bearer))}"


def _read_variable(server: ServerEntry, name: str) -> str:
    """The value of a variable with a header, which a guarded entry may set itself."""
    if server.guard is None or name not in server.env:
        raise _ImmovableError("variable", _why_not(name))
    return _check_text(server, "env", server.env[name])


def _check_text(server: ServerEntry, field: str, text: str) -> str:
    """A text with the same meaning in the gateway's file: without the client's variables."""
    is_expanded = field in server.shape.expands or field == "cwd"
    if is_expanded and (match := re.search(server.shape.variable, text)):
        raise _ImmovableError("variable", _why_not(match[0]))
    if _OURS.search(text):
        raise _ImmovableError(
            "variable",
            f"its {field} contains a variable as plain text, which the gateway would expand",
        )
    return text


def _why_not(variable: str) -> str:
    return (
        f"its client fills in {variable}; a gateway that another client starts may not have it. "
        "A plain value can move, or keyring:NAME"
    )


def is_described(fields: Mapping[str, Value], described: Mapping[str, object]) -> bool:
    """True if an entry of the gateway's file describes the same server, ignoring other keys.

    Args:
        fields: as `server_fields` returned them.
        described: the entry's data, in which every scalar may be a text.
    """
    keys = ("command", "args", "env", "cwd", "url", "headers", "transport")
    is_off = str(described.get("enabled")).lower() == "false" or "disabled" in described
    return is_off == ("enabled" in fields) and all(
        _texts(fields.get(key)) == _texts(described.get(key)) for key in keys
    )


def _texts(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _texts(item) for key, item in value.items()} or None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_texts(item) for item in value] or None
    return None if value in (None, "") else str(value)
