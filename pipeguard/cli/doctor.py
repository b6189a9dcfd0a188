"""`pipeguard doctor`: what is wrong with this installation, and the command that fixes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pipeguard.unicode.display import pluralize, visible_lines
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from pipeguard.doctor.diagnosis import Diagnosis, Result

_COLOURS = {"good": "green", "note": "yellow", "unknown": "bright_black", "wrong": "red"}
_WORD_CHARS = 7
_TITLE_CHARS = 13


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pipeguard.doctor.examination import CHECKS

    return [check.id for check in CHECKS if check.id.startswith(incomplete)]


@click.command("doctor", short_help="Find what is wrong with this installation.")
@click.argument("names", metavar="[CHECK]...", nargs=-1, shell_complete=_complete)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(names: tuple[str, ...], *, as_json: bool) -> None:
    """Check this installation, and name the command that fixes each thing that is wrong.

    Without CHECK, all checks: python, packages, launcher, engine, rules, cache, policy, state,
    store, audit, pins, keyring, logins, clients, isolation, learning. With CHECK, that check and
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
    from pipeguard.doctor.diagnosis import Case
    from pipeguard.doctor.examination import choose, examine, exit_code

    results = []
    for result in examine(Case.here(), choose(names)):
        results.append(result)
        if not as_json:
            _show(result)
    code = exit_code(results)
    if as_json:
        checks = [_fields(result) for result in results]
        click.echo(json.dumps({"version": VERSION, "exit_code": code, "checks": checks}, indent=2))
    else:
        click.echo(f"\n{_count(results)}")
    raise SystemExit(code)


def _show(result: Result) -> None:
    """All that a check found, the worst first, each with the command that fixes it."""
    title = result.check.title
    for diagnosis in sorted(result.diagnoses, key=lambda diagnosis: -diagnosis.state):
        word = diagnosis.state.name.lower()
        mark = click.style(f"{word:<{_WORD_CHARS}}", fg=_COLOURS[word])
        click.echo(f"{mark}  {title:<{_TITLE_CHARS}}  {visible_lines(diagnosis.what)}")
        if diagnosis.fix:
            click.echo(f"{'':<{_WORD_CHARS + _TITLE_CHARS + 4}}do:  {visible_lines(diagnosis.fix)}")
        title = ""


def _count(results: list[Result]) -> str:
    states = [result.state.name.lower() for result in results]
    wrong, notes, unknown = (states.count(word) for word in ("wrong", "note", "unknown"))
    parts = [pluralize(wrong, "problem") if wrong else "nothing wrong"]
    parts += [f"{unknown} not done"] if unknown else []
    parts += [pluralize(notes, "note")] if notes else []
    return f"{pluralize(len(results), 'check')}: {', '.join(parts)}."


def _fields(result: Result) -> dict[str, object]:
    return {
        "id": result.check.id,
        "title": result.check.title,
        "state": result.state.name.lower(),
        "seconds": round(result.seconds, 3),
        "told": [_diagnosis_fields(diagnosis) for diagnosis in result.diagnoses],
    }


def _diagnosis_fields(diagnosis: Diagnosis) -> dict[str, str]:
    return {
        "state": diagnosis.state.name.lower(),
        "what": diagnosis.what,
        "fix": diagnosis.fix,
    }
