"""A client's configuration file for a test, and setup's changes to it."""

from pathlib import Path

from pipeguard.clients import setting, undoing
from pipeguard.clients.entries import Config, GuardState, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions
from pipeguard.clients.setting import ChangePlan

LAUNCHER = ("pipeguard",)
OPEN = '{"mcpServers": {"it": {"command": "srv", "args": ["a"]}}}'
ARGS = '["wrap", "--name", "it", "--", "srv", "a"]'
GUARDED = f'{{"mcpServers": {{"it": {{"command": "pipeguard", "args": {ARGS}}}}}}}'


def put(home: Path, content: str | bytes, place: str = ".cursor/mcp.json") -> Path:
    """Write a file below a home folder."""
    path = home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def config(machine: Machine) -> Config:
    """Return the only file of a machine that has servers."""
    (found,) = find(machine)
    return read_config(found)


def plan(machine: Machine, **options: object) -> ChangePlan:
    """Plan to guard the servers of that file."""
    return setting.plan(config(machine), machine, LAUNCHER, GuardOptions(**options))  # type: ignore[arg-type]


def guard(machine: Machine, **options: object) -> ChangePlan:
    """Guard them."""
    planned = plan(machine, **options)
    assert planned.problem == ""
    setting.carry_out(planned, machine)
    return planned


def put_guarded(machine: Machine, content: str = OPEN) -> Path:
    """Write that file, and guard its servers."""
    path = put(machine.home, content)
    guard(machine)
    return path


def undo(machine: Machine, *names: str, everything: bool = False) -> list[undoing.UndoMethod]:
    """Undo that; return how each server was restored."""
    planned = undoing.plan_undo(config(machine), machine, names, everything=everything)
    undoing.undo(planned, machine)
    return [one.method for one in planned.undone]


def states(planned: ChangePlan) -> dict[str, GuardState]:
    """The state of each server in a plan, by its name."""
    return {one.server.name: one.state for one in planned.servers}
