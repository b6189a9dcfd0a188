"""Moves the servers of a client's file behind the gateway: first a plan, and then exactly that.

The servers are written to the gateway's file before the client's file changes, and removed from it
after that is restored: at no moment does a server exist nowhere.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from pipeguard.clients import files, gateway_entry, guarding, history
from pipeguard.clients.entries import Config, GuardState
from pipeguard.clients.history import GatewayMove, MovedServer, Record
from pipeguard.clients.machine import Machine
from pipeguard.clients.reading import BOM
from pipeguard.clients.rewrite import GuardOptions, JudgedServer
from pipeguard.clients.setting import ChangePlan, carry_out, refusal, with_bom
from pipeguard.config import atomic_write, tree
from pipeguard.config.container import Container
from pipeguard.config.tree import Node, NodeKind, UneditableError, UnreadableError, Value
from pipeguard.config.yaml_text import Yaml
from pipeguard.errors import InputError, PipeGuardError, PolicyError
from pipeguard.gateway.discovery import read_own_text
from pipeguard.gateway.moving import (
    NAME_CHARS,
    gateway_name,
    is_described,
    judge_move,
    server_fields,
)
from pipeguard.gateway.servers_file import parse_servers

_PRIVATE_FOLDER = 0o700


def _read_file(path: Path) -> str:
    """The text of the gateway's file, without a byte order mark; empty if there is no file.

    Raises:
        InputError: it cannot be read.
        PolicyError: other users could have written it.
    """
    return read_own_text(str(path)) if path.exists() else ""


def check_file(path: Path) -> str:
    """The text of the gateway's file, if servers can be added to it.

    Raises:
        InputError: it cannot be read.
        PolicyError: it is wrong, or others could have written it.
    """
    text = _read_file(path)
    parse_servers(text, str(path), os.environ)
    return text


def _write_file(path: Path, text: str) -> None:
    """Replace the gateway's file, readable only by its owner; an empty text removes it.

    Raises:
        FileError: it cannot be written.
    """
    try:
        if not text:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        real = path.resolve()
        has_mark = real.exists() and real.read_bytes().startswith(BOM.encode())
        atomic_write.replace_file(real, ((BOM if has_mark else "") + text).encode())
    except OSError as error:
        raise files.FileError(f"{path} cannot be written: {error.strerror}.") from None


def plan_move(
    config: Config, machine: Machine, launcher: Sequence[str], options: GuardOptions, gateway: Path
) -> ChangePlan:
    """Judge each server in a client's file, and plan its content with the chosen ones moved.

    Raises:
        PolicyError: the gateway's file is wrong.
    """
    problem = refusal(config, machine)
    servers = tuple(
        judge_move(server, options)._replace(
            chosen=(not options.names or server.name in options.names)
            and server.scope in options.scopes,
        )
        for server in config.servers
    )
    to_do = [judged.server for judged in servers if judged.is_to_do]
    if problem or not to_do:
        return ChangePlan(config, servers, problem=problem)
    try:
        text, changes, entry = gateway_entry.with_gateway(config, to_do, launcher)
        _add_servers(gateway, servers)
    except files.FileError as error:
        return ChangePlan(config, servers, problem=str(error))
    except (UneditableError, UnreadableError) as error:
        refused = tuple(
            each._replace(state=GuardState.CANNOT, code="odd", why=str(error))
            if each.is_to_do
            else each
            for each in servers
        )
        return ChangePlan(config, refused)
    content = with_bom(text, config.content)
    move = GatewayMove(entry, gateway)
    return ChangePlan(config, servers, content, changes, move=move)


def carry_out_move(planned: ChangePlan, machine: Machine, gateway: Path) -> None:
    """Write the servers to the gateway's file, and then the planned changes to the client's.

    Raises:
        FileError: a file changed in the meantime, or cannot be written; nothing was changed.
        StateError: the record cannot be written; nothing was changed.
        PolicyError: the gateway's file is wrong; nothing was changed.
    """
    if planned.move is None:
        return
    before, (text, frame, added) = _add_servers(gateway, planned.servers)
    earlier = _find_move(gateway)
    move = planned.move._replace(
        frame=frame or next((move.frame for move in earlier if move.frame), ""),
        servers=tuple(
            server._replace(text=server.text or _read_text(server, earlier)) for server in added
        ),
    )
    if text != before:
        _write_file(gateway, text)
    try:
        carry_out(planned._replace(move=move), machine)
    except PipeGuardError:
        if text != before:
            _write_file(gateway, before)
        raise


def _add_servers(
    gateway: Path, judged: Iterable[JudgedServer]
) -> tuple[str, tuple[str, str, tuple[MovedServer, ...]]]:
    """The text of the gateway's file, and `with_servers` of the servers to move.

    Raises:
        FileError: they cannot be added.
        PolicyError: the file is wrong.
    """
    before = check_file(gateway)
    servers = (
        item
        for item in judged
        if item.is_to_do and not guarding.gateway_launcher(item.server.words)
    )
    try:
        after = with_servers(before, servers)
        parse_servers(after[0], str(gateway), os.environ)
    except (UneditableError, UnreadableError, PolicyError) as error:
        raise files.FileError(f"{gateway}: {error}") from None
    return before, after


def release(records: Iterable[Record]) -> dict[Path, str]:
    """Remove the servers of undone records from the gateway's file, unless another client has them.

    A server that was edited there stays, because its client gets the original entry back.

    Args:
        records: records that were undone, and are forgotten.

    Returns:
        Why files were left unchanged, by file.
    """
    problems = {}
    for move in (record.move for record in records if record.move is not None):
        needed = {item.name for other in _find_move(move.file) for item in other.servers}
        edited = find_edited(move)
        gone = [item for item in move.servers if item.text and item.name not in needed]
        gone = [item for item in gone if item.entry not in edited]
        try:
            before = _read_file(move.file)
            after = without_servers(before, gone, move.frame)
            if after != before:
                _write_file(move.file, after)
        except (UneditableError, UnreadableError, InputError, PolicyError) as error:
            names = ", ".join(server.name for server in gone)
            problems[move.file] = f"it still has {names}: {error}"
        except files.FileError as error:
            problems[move.file] = str(error)
    return problems


def find_edited(move: GatewayMove) -> dict[str, str]:
    """Servers edited in the gateway's file after they moved, with their names there.

    Empty for an unreadable file: `release` leaves it as it is.
    """
    try:
        present = _find_servers(_read_file(move.file))
    except (UneditableError, UnreadableError, InputError, PolicyError):
        return {}
    return {
        item.entry: item.name
        for item in move.servers
        if item.text and item.name in present and present[item.name] != _as_written(item)
    }


def _find_move(path: Path) -> list[GatewayMove]:
    return [
        record.move
        for record in history.records()
        if record.move is not None and record.move.file == path
    ]


def _read_text(server: MovedServer, moves: Iterable[GatewayMove]) -> str:
    """The text that an earlier change wrote for a shared server; empty if there is none."""
    texts = (item.text for move in moves for item in move.servers if item.name == server.name)
    return next((text for text in texts if text), "")


# --- servers text -----------------------------------------------------------------------
# Adds servers to the text of `pipeguard.yaml`, and removes exactly what was added.

HEADER = "# The servers that `pipeguard setup --gateway` moved here."
_KEYS = ("servers", "mcpServers")
_YAML = Yaml()


def with_servers(
    text: str, servers: Iterable[JudgedServer]
) -> tuple[str, str, tuple[MovedServer, ...]]:
    """Add servers to a text; one that describes the same server under the same name is shared.

    Returns:
        The new text; the text written around the servers, empty if it had some before; and the
        servers, of which one that the text had before has no text of its own.

    Raises:
        UneditableError: the text is written in a way that cannot be edited.
        UnreadableError: it is not valid YAML.
    """
    frame = _frame(text)
    text += frame
    moved = []
    for server in (judged.server for judged in servers):
        present, fields = _find_servers(text), server_fields(server)
        for name in _candidates(gateway_name(server)):
            if name not in present:
                text, piece = _with_server(text, name, fields)
                moved.append(MovedServer(server.name, name, piece))
                break
            if is_described(fields, present[name]):
                moved.append(MovedServer(server.name, name, ""))
                break
    return text, frame, tuple(moved)


def without_servers(text: str, servers: Sequence[MovedServer], frame: str) -> str:
    """Remove added servers, as exactly as the text allows, and an empty frame.

    Raises:
        UneditableError: the edit would touch something else.
        UnreadableError: the text is not valid YAML.
    """
    present = _find_servers(text)
    gone = [server for server in servers if server.name in present]
    expected = {name: data for name, data in present.items() if name not in {s.name for s in gone}}
    exact = text
    for server in gone:
        if server.text and exact.count(server.text) == 1:
            exact = exact.replace(server.text, "")
    result = exact if _reads_entry(exact, expected) else _without_entries(text, gone)
    if not _reads_entry(result, expected):
        raise UneditableError("a server cannot be removed without touching something else.")
    if frame and not expected and result.endswith(frame):
        result = result.removesuffix(frame)
    return result


def _candidates(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        end = f"-{number}"
        yield name[: NAME_CHARS - len(end)] + end


def _root(text: str) -> Node:
    """The outermost map.

    Raises:
        UneditableError: it is something else.
    """
    root = _YAML.read(text)
    if root.kind is not NodeKind.MAP or root.shared:
        raise UneditableError("its outermost value is not a map of keys.")
    return root


def _key(root: Node) -> str:
    """The key of the servers; empty if there is none."""
    return next((key for key in _KEYS if root.member(key)), "")


def _frame(text: str) -> str:
    """The text to append before servers can be added."""
    root = _root(text)
    if _key(root):
        return ""
    if root.style is tree.Style.BRACKETS and "\n" not in text[root.start : root.end]:
        raise UneditableError("it has no servers: add `servers: {}` to it.")
    line_break = tree.newline(text)
    start = line_break if text and not text.endswith("\n") else ""
    return f"{start}{HEADER}{line_break}{_KEYS[0]}:{line_break}"


def _find_servers(text: str) -> dict[str, Mapping[str, object]]:
    root = _root(text)
    data = tree.plain(root.data())
    servers: dict[str, Mapping[str, object]] = {}
    for key in _KEYS:
        group = data.get(key) if isinstance(data, Mapping) else None
        if isinstance(group, Mapping):
            for name, fields in group.items():
                servers[name] = fields if isinstance(fields, Mapping) else {}
    return servers


def _as_written(server: MovedServer) -> Mapping[str, object] | None:
    """The fields that setup wrote for a server; None if its text cannot be parsed by itself."""
    piece = server.text.strip(" ,\r\n")
    lines = server.text.strip("\r\n")
    for text in (f"{_KEYS[0]}: {{{piece}}}", f"{_KEYS[0]}:\n{lines}\n"):
        with suppress(UneditableError, UnreadableError):
            if fields := _find_servers(text).get(server.name):
                return fields
    return None


def _with_server(text: str, name: str, fields: Mapping[str, Value]) -> tuple[str, str]:
    """A text with one more server, and the inserted piece."""
    root = _root(text)
    member = root.member(_key(root))
    assert member is not None  # noqa: S101  the frame has it
    node = member.value
    if node.kind is NodeKind.OTHER and node.start == node.end:  # nothing after the colon
        position, piece = (
            tree.line_end(text, member.end),
            tree.newline(text) + _block(name, fields, 2, text),
        )
    else:
        container = Container(text, _YAML, (member.key,))
        if container.is_in_brackets:
            entry = f"{tree.quote(name)}: {_YAML.literal(fields)}"
        else:
            indent = node.members[0].start - tree.line_start(text, node.members[0].start)
            entry = _block(name, fields, indent, text)
        position, piece = container.addition(entry)
    before = _find_servers(text)
    result = text[:position] + piece + text[position:]
    if _find_servers(result) != {**before, name: _as_read(fields)}:
        raise UneditableError("the change would touch something else.")
    return result, piece


def _block(name: str, fields: Mapping[str, Value], indent: int, text: str) -> str:
    lines = [f"{' ' * indent}{name if name.isidentifier() else tree.quote(name)}:"]
    lines += [f"{' ' * (indent + 2)}{key}: {_YAML.literal(v)}" for key, v in fields.items()]
    return tree.newline(text).join(lines)


def _as_read(fields: Mapping[str, Value]) -> dict[str, object]:
    """Fields as YAML's tree has them: every scalar is a text."""
    return {
        key: str(value).lower() if isinstance(value, bool) else tree.plain(value)
        for key, value in fields.items()
    }


def _without_entries(text: str, servers: Sequence[MovedServer]) -> str:
    for key in _KEYS:
        root = _root(text)
        member = root.member(key)
        names = {item.key for item in member.value.members} if member else set()
        gone = [server.name for server in servers if server.name in names]
        if gone:
            text = Container(text, _YAML, (key,)).replace_entries(gone, [])
    return text


def _reads_entry(text: str, expected: Mapping[str, object]) -> bool:
    with suppress(UneditableError, UnreadableError):
        return _find_servers(text) == expected
    return False
