"""`pipeguard doctor`: finds problems of this installation, and the commands that fix them."""

from collections.abc import Iterator

import click

from pipeguard.cli._emit import Fields, emit, json_option, wants_json
from pipeguard.unicode.display import pluralize, visible_lines
from pipeguard.version import VERSION

_COLOURS = {"good": "green", "note": "yellow", "unknown": "bright_black", "wrong": "red"}
_WORD_CHARS = 7
_TITLE_CHARS = 13


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pipeguard.doctor.examination import CHECKS

    return [check.id for check in CHECKS if check.id.startswith(incomplete)]


@click.command("doctor", short_help="Find what is wrong with this installation.")
@click.argument("names", metavar="[CHECK]...", nargs=-1, shell_complete=_complete)
@json_option
def command(names: tuple[str, ...]) -> None:
    """Check this installation, and name the command that fixes each thing that is wrong.

    Without CHECK, all checks: python, packages, launcher, engine, rules, cache, policy, state,
    store, audit, pins, keyring, logins, clients, isolation. With CHECK, that check and
    those that it depends on. Compiles the rules if they are not compiled yet; changes nothing else,
    contacts no server, and shows no secret.

    \b
    Examples:
      pipeguard doctor
      pipeguard doctor rules store
      pipeguard doctor --json

    \b
    Exit codes:
      0  nothing is wrong; there may be notes
      1  something is wrong; the command that fixes it is shown
      2  wrong usage: no such check
      3  the scan engine is missing or does not work: no guarded server starts
      4  the state folder or the store cannot be used: no guarded server starts
    """  # noqa: D301  click reads the mark
    from pipeguard.clients.machine import Machine
    from pipeguard.doctor.examination import choose, examine, exit_code

    checks: list[Fields] = []
    for check in examine(Machine.in_current_folder(), choose(names)):
        checks.append(check)
        if not wants_json():
            click.echo("\n".join(_lines(check)))
    code = exit_code(checks)
    value = {"version": VERSION, "exit_code": code, "checks": checks}
    emit(value, lambda _: _count(checks), code=code)


def _lines(check: Fields) -> Iterator[str]:
    """List a check's diagnoses, the worst first, each with the command that fixes it."""
    title = check["title"]
    worst_first = [*reversed(_COLOURS)]
    for result in sorted(check["told"], key=lambda result: worst_first.index(result["state"])):
        mark = click.style(f"{result['state']:<{_WORD_CHARS}}", fg=_COLOURS[result["state"]])
        yield f"{mark}  {title:<{_TITLE_CHARS}}  {visible_lines(result['what'])}"
        if result["fix"]:
            yield f"{'':<{_WORD_CHARS + _TITLE_CHARS + 4}}do:  {visible_lines(result['fix'])}"
        title = ""


def _count(checks: list[Fields]) -> str:
    states = [check["state"] for check in checks]
    wrong, notes, unknown = (states.count(word) for word in ("wrong", "note", "unknown"))
    parts = [pluralize(wrong, "problem") if wrong else "nothing wrong"]
    parts += [f"{unknown} not done"] if unknown else []
    parts += [pluralize(notes, "note")] if notes else []
    return f"\n{pluralize(len(checks), 'check')}: {', '.join(parts)}."
