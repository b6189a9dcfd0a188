"""Moves the servers of a client's file behind the gateway: first a plan, and then exactly that.

The servers are written to the gateway's file before the client's file changes, and removed from it
after that is restored: at no moment does a server exist nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeguard.clients import files, history, setting
from pipeguard.clients.entries import Config, GuardState
from pipeguard.clients.gateway_entry import with_gateway
from pipeguard.clients.guarding import gateway_launcher
from pipeguard.clients.machine import Machine
from pipeguard.clients.reading import BOM
from pipeguard.clients.rewrite import GuardOptions, Judgement
from pipeguard.clients.setting import ChangePlan, JudgedServer
from pipeguard.config.atomic_write import replace_file
from pipeguard.config.tree import UneditableError, UnreadableError
from pipeguard.errors import InputError, PipeGuardError, PolicyError
from pipeguard.gateway.moving import gateway_name, judge_move, server_fields
from pipeguard.gateway.own_files import read_own_text
from pipeguard.gateway.servers_file import parse_servers
from pipeguard.gateway.servers_text import Described, with_servers, without_servers
from pipeguard.gateway.sources import usual_file

_PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class GatewayFile:
    """The gateway's file, and what variables stand for in it.

    Attributes:
        path: the file, which need not exist.
        variables: the environment.
    """

    path: Path
    variables: Mapping[str, str]

    def text(self) -> str:
        """Its text without a byte order mark; empty where it does not exist.

        Raises:
            PolicyError: it is wrong, or others could have written it.
        """
        if not self.path.exists():
            return ""
        text = read_own_text(str(self.path))
        parse_servers(text, str(self.path), self.variables)
        return text

    def write(self, text: str) -> None:
        """Replace it by a text, readable by its owner alone; an empty text removes it.

        Raises:
            FileError: it cannot be written.
        """
        try:
            if not text:
                self.path.unlink(missing_ok=True)
                return
            self.path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            real = self.path.resolve()
            has_mark = real.exists() and real.read_bytes().startswith(BOM.encode())
            replace_file(real, ((BOM if has_mark else "") + text).encode())
        except OSError as error:
            raise files.FileError(f"{self.path} cannot be written: {error.strerror}.") from None


def gateway_file() -> GatewayFile:
    """The user's file, in this process's environment."""
    return GatewayFile(Path(usual_file()), os.environ)


def plan_move(
    config: Config,
    machine: Machine,
    launcher: Sequence[str],
    options: GuardOptions,
    gateway: GatewayFile,
) -> ChangePlan:
    """Judge each server in a client's file, and plan its content with the chosen ones moved."""
    problem = setting.refusal(config, machine)
    options = replace(options, off=options.off or bool(options.names))
    servers = tuple(
        JudgedServer(
            server,
            judge_move(server, options),
            (not options.names or server.name in options.names) and server.scope in options.scopes,
        )
        for server in config.servers
    )
    to_do = [judged.server for judged in servers if judged.is_to_do]
    if problem or not to_do:
        return ChangePlan(config, servers, problem=problem)
    try:
        taken_out = with_gateway(config, to_do, launcher)
    except (UneditableError, UnreadableError) as error:
        cannot = Judgement(GuardState.CANNOT, "odd", str(error))
        left = (replace(item, judgement=cannot) if item.is_to_do else item for item in servers)
        return ChangePlan(config, tuple(left))
    names = {server.path: server.name for server in to_do}
    return ChangePlan(
        config,
        servers,
        setting.with_bom(taken_out.text, config.content),
        tuple((names[change.path], change) for change in taken_out.changes),
        move=history.GatewayMove(taken_out.entry, gateway.path),
    )


def carry_out_move(planned: ChangePlan, machine: Machine, gateway: GatewayFile) -> None:
    """Write the servers to the gateway's file, and then what was planned to the client's.

    Raises:
        FileError: a file changed in the meantime, or cannot be written; nothing was changed.
        StateError: the record cannot be written; nothing was changed.
        PolicyError: the gateway's file is wrong; nothing was changed.
    """
    if planned.move is None:
        return
    before = gateway.text()
    servers = [
        Described(
            item.server.name,
            gateway_name(item.server),
            server_fields(item.server),
        )
        for item in planned.servers
        if item.is_to_do and not gateway_launcher(item.server.words)
    ]
    try:
        added = with_servers(before, servers)
        parse_servers(added.text, str(gateway.path), gateway.variables)
    except (UneditableError, UnreadableError, PolicyError) as error:
        raise files.FileError(f"{gateway.path}: {error}") from None
    earlier = _moves_to(gateway.path)
    move = replace(
        planned.move,
        frame=added.frame or next((move.frame for move in earlier if move.frame), ""),
        servers=tuple(
            replace(server, text=server.text or _text_of(server, earlier))
            for server in added.servers
        ),
    )
    if added.text != before:
        gateway.write(added.text)
    try:
        setting.carry_out(replace(planned, move=move), machine)
    except PipeGuardError:
        if added.text != before:
            gateway.write(before)
        raise


def release(records: Iterable[history.Record]) -> dict[Path, str]:
    """Remove the servers of undone records from the gateway's file, unless another client has them.

    Args:
        records: records that were undone, and are forgotten.

    Returns:
        For each file that is left as it is, why.
    """
    problems = {}
    for move in (record.move for record in records if record.move is not None):
        gateway = GatewayFile(move.file, os.environ)
        needed = {item.name for other in _moves_to(move.file) for item in other.servers}
        gone = [item for item in move.servers if item.text and item.name not in needed]
        try:
            before = read_own_text(str(move.file)) if move.file.exists() else ""
            after = without_servers(before, gone, move.frame)
            if after != before:
                gateway.write(after)
        except (UneditableError, UnreadableError, InputError, PolicyError) as error:
            names = ", ".join(server.name for server in gone)
            problems[move.file] = f"it still has {names}: {error}"
        except files.FileError as error:
            problems[move.file] = str(error)
    return problems


def _moves_to(path: Path) -> list[history.GatewayMove]:
    return [
        record.move
        for record in history.records()
        if record.move is not None and record.move.file == path
    ]


def _text_of(server: history.MovedServer, moves: Iterable[history.GatewayMove]) -> str:
    """What an earlier change wrote for a server that is shared; empty if none wrote it."""
    texts = (item.text for move in moves for item in move.servers if item.name == server.name)
    return next((text for text in texts if text), "")
