"""The steps of `setup` and of its undoing: plan, show, ask, write, report. Not a command."""

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import click

from pipeguard.cli import _setup_report as report
from pipeguard.cli import _undo_report as undo_report
from pipeguard.cli._setup_request import SetupRequest
from pipeguard.clients import guarding, readiness, setting, undoing
from pipeguard.clients.entries import Config, GuardState, read_config
from pipeguard.clients.files import FileError
from pipeguard.clients.launcher import LauncherError, launcher
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.setting import ChangePlan, find_gone
from pipeguard.clients.undoing import UndoMethod, UndoPlan, plan_undo
from pipeguard.errors import InputError
from pipeguard.gateway.client_move import carry_out_move, find_edited, plan_move, release
from pipeguard.gateway.discovery import usual_file
from pipeguard.unicode.display import pluralize, visible

DONE = 0
OPEN = 1
REFUSED = 5
CANNOT = 6
NOTHING = 7


def set_up(request: SetupRequest) -> int:
    """Guard the servers of a request, as far as the user wants; return the exit code."""
    request.require_ready()
    machine = request.machine()
    configs = request.configs(machine)
    words, no_launcher = _launcher(request, machine)
    plans = _plans(request, machine, configs, words)
    names = {judged.server.name for plan in plans for judged in plan.servers}
    _refuse_missing(request.names, names, "no server is named")
    if not request.as_json:
        _show_plans(request, machine, configs, plans, words)
    to_do = [plan for plan in plans if plan.content is not None]
    no_launcher = None if all(plan.is_shared for plan in to_do) else no_launcher
    if no_launcher and to_do and request.may_write:
        raise no_launcher
    failed: dict[Path, str] = {}
    done: list[ChangePlan] = []
    if to_do and not request.check and not request.as_json:
        report.before_change(plan.config for plan in to_do)
    if to_do and not request.is_only_shown and _may_change(request, to_do):
        done, failed = _carry_out(to_do, machine)
    code = _code(plans, done, failed)
    if request.as_json:
        report.as_json(plans, done, failed, code, dry_run=request.dry_run)
        return code
    if done or failed:
        report.outcome(done, failed, machine, request.undo_command())
    if to_do and not done and not failed:
        report.what_next(request.again(), no_launcher, to_do)
    return code


def _plans(
    request: SetupRequest, machine: Machine, configs: list[Config], launcher: tuple[str, ...]
) -> list[ChangePlan]:
    options = request.guard_options()
    if not request.gateway:
        everywhere = [read_config(file) for file in find(machine)]
        return setting.plan_all(configs, machine, launcher, options, everywhere)
    gateway = Path(usual_file())
    return [plan_move(config, machine, launcher, options, gateway) for config in configs]


def _show_plans(
    request: SetupRequest,
    machine: Machine,
    configs: list[Config],
    plans: list[ChangePlan],
    launcher: tuple[str, ...],
) -> None:
    report.table(plans, machine)
    if not request.clients and not request.file:
        report.without_servers(machine, configs)
    for client in request.clients:
        report.without_file(client, plans, launcher)
    if request.dry_run:
        report.diffs(plans)


def _carry_out(
    plans: Iterable[ChangePlan], machine: Machine
) -> tuple[list[ChangePlan], dict[Path, str]]:
    """Write each file; a refused file does not stop the others."""
    readiness.make_ready()
    done: list[ChangePlan] = []
    failed: dict[Path, str] = {}
    for plan in plans:
        try:
            if plan.move is None:
                setting.carry_out(plan, machine)
            else:
                carry_out_move(plan, machine, Path(usual_file()))
            done.append(plan)
        except FileError as error:
            failed[plan.config.path] = str(error)
    return done, failed


def _code(plans: list[ChangePlan], done: list[ChangePlan], failed: dict[Path, str]) -> int:
    chosen = [(plan, judged) for plan in plans for judged in plan.servers if judged.chosen]
    if failed or any(plan.problem for plan in plans):
        return REFUSED
    states = [judged.state for plan, judged in chosen if not (plan in done and judged.is_to_do)]
    if GuardState.OPEN in states or GuardState.STALE in states:
        return OPEN
    is_missing = any(find_gone(judged.server) for _, judged in chosen)
    if GuardState.CANNOT in states or is_missing:
        return CANNOT
    is_any_guarded = any(judged.state is not GuardState.LEFT for _, judged in chosen)
    return DONE if is_any_guarded else NOTHING


def _may_change(request: SetupRequest, plans: list[ChangePlan]) -> bool:
    if request.yes:
        return True
    if not sys.stdin.isatty():
        return False
    count = sum(plan.open_count for plan in plans)
    servers = pluralize(count, "server")
    files = pluralize(len(plans), "file")
    verb = "Guard and isolate" if request.isolate else "Guard"
    what = f"Move {servers} from" if request.gateway else f"{verb} {servers} in"
    return click.confirm(f"\n{what} {files}{' behind the gateway' * request.gateway}?")


def _launcher(
    request: SetupRequest, machine: Machine
) -> tuple[tuple[str, ...], LauncherError | None]:
    """Return the launcher to write; or a placeholder, and why it is missing."""
    if request.check:
        return guarding.SHARED_LAUNCHER, None
    try:
        return launcher(request.launcher, machine.environment), None
    except LauncherError as error:
        if request.launcher:
            raise
        return (error.path,) if error.path else guarding.SHARED_LAUNCHER, error


def _refuse_missing(wanted: Iterable[str], names: Collection[str], why: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        listed = f"\n  Available: {visible(', '.join(sorted(names)))}" if names else ""
        raise InputError(f"{why} {missing[0]!r} there.{listed}")


def undo(request: SetupRequest, *, everything: bool = False) -> int:
    """Undo the changes of `setup`; with `everything`, even if its record is gone."""
    machine = request.machine()
    plans = _undo_plans(request, machine, everything=everything)
    if not plans:
        if request.as_json:
            undo_report.undo_as_json([], {}, NOTHING)
        else:
            click.echo("No server of these clients is guarded.")
        return NOTHING
    if not request.as_json:
        undo_report.undo_table(plans, machine)
        if request.dry_run:
            undo_report.undo_diffs(plans)
    failed: dict[Path, str] = {plan.config.path: plan.problem for plan in plans if plan.problem}
    to_do = [plan for plan in plans if not plan.problem]
    if to_do and not request.as_json:
        report.before_change(plan.config for plan in to_do)
    may = not request.is_only_shown and bool(to_do)
    if may and not request.yes:
        may = sys.stdin.isatty() and click.confirm("\nRemove the guard?")
    if may:
        failed = write_undo(request, plans, machine)
    code = _undo_code(plans, failed, may=may)
    if request.as_json:
        undo_report.undo_as_json(plans, failed, code)
    else:
        undo_report.undo_outcome(plans, failed, machine, again="" if may else request.again())
    return code


def _undo_plans(request: SetupRequest, machine: Machine, *, everything: bool) -> list[UndoPlan]:
    """Plan the undoing of each file in which something is guarded, or may be."""
    configs = request.changed_configs(machine)
    plans = [plan_undo(config, machine, request.names, everything=everything) for config in configs]
    plans = [_with_edits(plan, machine) for plan in plans if plan.undone or plan.problem]
    if request.names:
        all_undone = (each for one in configs for each in plan_undo(one, machine).undone)
        guarded = {each.name for each in all_undone}
        _refuse_missing(request.names if guarded else (), guarded, "no guarded server is named")
    return plans


def _with_edits(plan: UndoPlan, machine: Machine) -> UndoPlan:
    """Note for each server that was edited behind the gateway that its edited entry stays there."""
    moves = [record.move for record in plan.used if record.move is not None]

    edited = {
        entry: f"your edited entry stays, as {name} in {report.short_file(move.file, machine)}"
        for move in moves
        for entry, name in find_edited(move).items()
    }
    undone = (each._replace(why=each.why or edited.get(each.name, "")) for each in plan.undone)
    return plan._replace(undone=tuple(undone))


def write_undo(
    request: SetupRequest, plans: Sequence[UndoPlan], machine: Machine
) -> dict[Path, str]:
    """Carry out the plans; return why a file was refused, or is still to be undone."""
    failed = {plan.config.path: plan.problem for plan in plans if plan.problem}
    to_do = [plan for plan in plans if not plan.problem]
    for plan in to_do:
        try:
            undoing.undo(plan, machine)
        except FileError as error:
            failed[plan.config.path] = str(error)
    failed |= release(
        [record for plan in to_do if plan.config.path not in failed for record in plan.used]
    )
    kept = {plan.config.path: plan.kept for plan in plans}
    return _find_guarded(request, machine, kept) | failed


def _find_guarded(
    request: SetupRequest, machine: Machine, left_guarded: Mapping[Path, frozenset[str]]
) -> dict[Path, str]:
    """Read every file again; explain which are still to be undone: a client can write one back."""
    still: dict[Path, str] = {}
    for config in request.changed_configs(machine):
        undone = plan_undo(config, machine, request.names, everything=True).undone
        others = (each for each in undone if each.name not in left_guarded.get(config.path, ()))
        if names := [each.name for each in others if each.method is not UndoMethod.LEFT]:
            why = "in the file as it is now, PipeGuard still starts"
            again = "its client may have written it again: quit that, and repeat this"
            still[config.path] = f"{why} {', '.join(names)}; {again}."
    return still


def _undo_code(plans: Iterable[UndoPlan], failed: dict[Path, str], *, may: bool) -> int:
    if failed:
        return REFUSED
    if not may:
        return OPEN
    is_any_left = any(undone.method is UndoMethod.LEFT for plan in plans for undone in plan.undone)
    return CANNOT if is_any_left else DONE
