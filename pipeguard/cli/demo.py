"""`pipeguard demo`: shows the scenes of `pipeguard.demo.play`."""

import json
import shutil
import textwrap
from pathlib import Path
from time import monotonic

import click

from pipeguard.cli._emit import flag
from pipeguard.demo.play import SCENES, Scene, play
from pipeguard.errors import StateError
from pipeguard.installation import own_command
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.state.paths import DEMO_STORE_NAME, store_path

LABEL_COLUMNS = 13
SHOWN_CHARACTERS = 240  # of one text; --json shows all of it
MOST_COLUMNS = 100
COLOURS = {"client sent": "cyan", "server got": "magenta", "model got": "yellow"}


@click.command()
@flag("--json", "Print one JSON object at the end.", "as_json")
def command(*, as_json: bool) -> None:
    """Play five scenes with a real server behind `wrap`, and show what each side saw.

    A clean call, a leaked key, a split injection, a poisoned description and a rug pull. Needs no
    network. Its pins and its policy are in a temporary folder; its events are kept until the next
    demonstration, for `pipeguard explain`. Exits with 0 only if each scene goes as expected.

    \b
    Example:
      pipeguard demo
    """  # noqa: D301  click reads the mark
    wait_for_engines()
    started = monotonic()
    if not as_json:
        click.echo("A real MCP server behind `pipeguard wrap`, with a store of its own.")
    scenes = []
    for number, scene in enumerate(play(copy_to=_file_of_events()), start=1):
        scenes.append(scene)
        if not as_json:
            click.echo(as_text(number, scene))
    seconds = monotonic() - started
    good = sum(not scene.failures for scene in scenes)
    if as_json:
        document = {"seconds": round(seconds, 2), "scenes": [scene._asdict() for scene in scenes]}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        last = f"\n{good} of {len(SCENES)} scenes went as expected, in {seconds:.1f} s."
        click.echo(last)
        if good == len(SCENES):
            click.echo(f"Guard your own servers:  {own_command()} setup")
    raise SystemExit(0 if good == len(SCENES) else 1)


def _file_of_events() -> Path | None:
    """Return the file for the events; None if it cannot have a folder."""
    try:
        return store_path().with_name(DEMO_STORE_NAME)
    except StateError as error:
        click.echo(f"`explain` will not find these events: {error}", err=True)
        return None


def as_text(number: int, scene: Scene) -> str:
    """Format one scene for people, in colours."""
    good = click.style("[as expected]", fg="green")
    wrong = click.style(f"[WRONG: {'; '.join(scene.failures)}]", fg="red", bold=True)
    title = click.style(f"{number}. {scene.title}", bold=True)
    lines = ["", f"{title}  {wrong if scene.failures else good}"]
    lines += _row("client sent", scene.client_sent)
    lines += _row("server got", scene.server_got)
    if scene.server_sent:
        lines += _row("server sent", scene.server_sent)
    lines += _row("model got", scene.model_got)
    if scene.rule:
        lines += _row("because of", f"{scene.rule}  (event {scene.event})")
        lines += _row("what next", scene.command)
    return "\n".join(lines)


def _row(label: str, text: str) -> list[str]:
    columns = min(shutil.get_terminal_size().columns, MOST_COLUMNS)
    width = max(columns - LABEL_COLUMNS - 3, 20)
    if len(text) > SHOWN_CHARACTERS:
        text = text[: SHOWN_CHARACTERS - 1] + "…"
    folded = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    head = click.style(label.ljust(LABEL_COLUMNS), fg=COLOURS.get(label, "white"))
    indent = " " * (LABEL_COLUMNS + 3)
    return [f"   {head}{folded[0]}", *(f"{indent}{line}" for line in folded[1:])]
