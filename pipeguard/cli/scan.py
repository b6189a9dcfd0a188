"""`pipeguard scan`: judges any text by the rules and the policy in force. Stores nothing."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli._setup_request import must_have_effect
from pipeguard.config.options import WrapOptions
from pipeguard.errors import InputError
from pipeguard.firewall.finding import Action
from pipeguard.rulebook.policy_rules import load_wrap_policy
from pipeguard.rulebook.trial import USUAL_KEY, TextRole, Trial, TrialInput, judge
from pipeguard.runtime.progress import say_if_slow, wait_for_engines
from pipeguard.unicode.display import pluralize, quote, show, visible

if TYPE_CHECKING:
    from pipeguard.rulebook.trial import LocatedFinding, Spot

# Path neither expands an absolute pattern nor walks a folder without its links on Python 3.11.


import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

BOM = "\ufeff"
KEY_BYTES = 32
MEBIBYTE = 2**20
_SHOWN_CHARS = 80  # of a word that names no file
MOST_SKIPPED = 20  # files that are listed
MOST_RULES = 3  # of one file among several
# A blocked definition is left out of the list of tools, and its tool cannot be called.
_WOULD = {
    Action.ALLOW: "would pass",
    Action.WARN: "would pass, with a warning",
    Action.REDACT: "would pass with placeholders in place of what was found",
    Action.CUT: "would pass with a line in place of each passage that was found",
    Action.ASK: "would wait for your decision",
    Action.BLOCK: "would be blocked",
}


@click.command("scan", short_help="Try a text against the rules and your policy.")
@click.argument("words", metavar="FILE|FOLDER|-...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--as",
    "taken",
    type=click.Choice([kind.value for kind in TextRole]),
    default=TextRole.RESULT.value,
    show_default=True,
    help="What the text is judged as.",
)
@click.option("--tool", metavar="NAME", help="The tool that it comes from or goes to.")
@click.option(
    "--server",
    metavar="NAME",
    shell_complete=completions.servers,
    help="The server, for a policy that names servers.",
)
@click.option(
    "--key",
    metavar="NAME",
    default=USUAL_KEY,
    show_default=True,
    help="With --as arguments: the name of the argument that contains a plain text.",
)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Use this policy instead of your own.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["block", "warn"]),
    default="block",
    show_default=True,
    help="Exit with 1 if something would be blocked, cut out or redacted; with `warn`, also for"
    " warnings.",
)
@click.option("--why", is_flag=True, help="The steps by which each finding was rated.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(  # noqa: PLR0913  one for each option
    *,
    words: tuple[str, ...],
    taken: str,
    tool: str | None,
    server: str | None,
    key: str,
    policy: str | None,
    fail_on: str,
    why: bool,
    as_json: bool,
) -> None:
    """Judge files, or standard input (-), as `wrap` would, and say what would happen to them.

    Of a folder, each text below it is judged that is not hidden. A pattern in quotes is expanded.

    As a result, the text is what a tool returns; as arguments, what a tool is called with; as a
    definition, its description. JSON is recognized: a result with its content, an object of
    arguments, one tool or a list of tools, or a whole message of each kind. Other JSON is text.
    Rules, views and policy are those of `wrap`; pins, and what other calls returned, are not
    considered. Arguments are judged as if the tool may send them away. Secrets are masked. Of a
    rule with many findings, a few are shown; of several files, each has a line with its verdict and
    rules.

    \b
    Examples:
      pipeguard scan page.html
      pipeguard scan page.html --why
      pipeguard scan docs 'notes/**/*.md' --fail-on warn
      git diff | pipeguard scan - --as arguments --tool write_file --key content
      pipeguard scan tools.json --as definition --json

    \b
    Exit codes:
      0  all of it would pass; there may be warnings
      1  some of it would be blocked, cut out or redacted, or wait; with --fail-on warn, also
         warned of
      2  it cannot be read, is not text, or is larger than a message may be; of what a folder or a
         pattern names, what is not text is skipped
      3  the scan engine is missing
    """  # noqa: D301  click reads the mark
    if TextRole(taken) is not TextRole.ARGUMENTS:
        must_have_effect("key", need="it needs --as arguments")
    options = WrapOptions((), {} if policy is None else {"--policy": policy}, {}, [])
    rules = load_wrap_policy(options)
    given = scan_files(words)
    limit = rules.limits.frame_bytes
    first = {path: _text(path, limit) for path in given.paths if path in given.chosen}
    compiled = wait_for_engines()
    trials: dict[str, Trial] = {}
    skipped: dict[str, str] = {}
    unread = 0
    what = _size(len(first[given.paths[0]])) if given.is_one else f"{len(given.paths)} files"
    with say_if_slow(f"loading the rules and judging {what}"):
        for path in given.paths:
            try:
                text = first[path] if path in first else _text(path, limit)
            except InputError as error:
                skipped[path] = str(error)
                unread += not isinstance(error, _NotTextError)
                continue
            trial_input = TrialInput(text, TextRole(taken), tool, server, key)
            trials[path] = judge(compiled, rules, trial_input, os.urandom(KEY_BYTES), monotonic())
    if as_json:
        told = [_fields(path, taken, trial) for path, trial in trials.items()]
        several = {"files": told, "skipped": [{"file": p, "why": w} for p, w in skipped.items()]}
        click.echo(json.dumps(told[0] if given.is_one else several, indent=2))
    elif given.is_one:
        click.echo(_page(_name(given.paths[0]), trials[given.paths[0]], with_steps=why))
        for word in _published_words(first[given.paths[0]]):
            click.echo(f"note: {word[:4]}… is a documented example key, so it is not reported.")
    else:
        click.echo(_pages(trials, skipped))
    least = Action.WARN if fail_on == "warn" else Action.REDACT
    found = any(trial.action >= least for trial in trials.values())
    raise SystemExit(1 if found else InputError.exit_code if unread else 0)


def _published_words(text: str) -> list[str]:
    """Find credentials that a vendor's documentation prints, which no rule reports."""
    from pipeguard.detect.checks.placeholders import is_published

    words = (word[0] for word in islice(_CREDENTIAL.finditer(text), MOST_WORDS))
    return [word for word in dict.fromkeys(words) if is_published(word.encode())]


class _NotTextError(InputError):
    """A file is no text, as an image."""


def _pages(trials: Mapping[str, Trial], skipped: Mapping[str, str]) -> str:
    """Report each file in which something was found in a line, with a total."""
    found = [_line(path, trial) for path, trial in trials.items() if trial.findings]
    counts = Counter(trial.action for trial in trials.values())
    lines = [f"{pluralize(len(trials), 'file')}:"]
    lines += [f"  {counts[action]} {_WOULD[action]}" for action in sorted(counts)]
    if skipped:
        lines.append(f"  {len(skipped)} skipped:")
        lines += [f"    {why.splitlines()[0]}" for why in list(skipped.values())[:MOST_SKIPPED]]
        lines += ["    …"] * (len(skipped) > MOST_SKIPPED)
    if found:
        lines += ["", "The passages of one file, and what to do:  pipeguard scan FILE"]
    return "\n".join((*found, *([""] * bool(found)), *lines))


def _line(path: str, trial: Trial) -> str:
    """The verdict on a file, and the rules that found something in it."""
    rules = list(dict.fromkeys(located.finding.rule for located in trial.findings))
    more = len(rules) - MOST_RULES
    shown = ", ".join(rules[:MOST_RULES]) + (f" and {more} more" if more > 0 else "")
    words = click.style(_WOULD[trial.action], fg="red" if trial.action >= Action.REDACT else None)
    return f"{visible(path)}: {words}: {shown}{_if_kept(trial, '. ')}"


def _if_kept(trial: Trial, joint: str) -> str:
    """Say what else would happen if the tool keeps its arguments on this machine."""
    if trial.kept is trial.action:
        return ""
    return f"{joint}If no tool of the server sends anything away, it {_WOULD[trial.kept]}."


def _text(file: str, limit_bytes: int) -> str:
    """The text to judge.

    Raises:
        InputError: it cannot be read, is larger than a message may be, or is not text.
    """
    name = visible(_name(file))
    try:
        if file != STDIN:
            with Path(file).open("rb") as stream:
                data = stream.read(limit_bytes + 1)
        elif sys.stdin is None:
            raise InputError("standard input is closed.")
        else:
            data = sys.stdin.buffer.read(limit_bytes + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > limit_bytes:
        raise InputError(
            f"{name} is larger than {_size(limit_bytes)}, and `wrap` lets no message of that size"
            " pass.\n  Scan a part of it, or change `limits.frame` in the policy."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _NotTextError(
            f"{name} is not text in UTF-8: byte {data[error.start]:#04x} at {error.start}.\n"
            "  Scan its text instead, or what a tool makes of it."
        ) from None
    if "\0" in text:
        raise _NotTextError(
            f"{name} is not text: it contains a null byte at {data.index(0)}.\n"
            "  Scan its text instead, or what a tool makes of it."
        )
    return text.removeprefix(BOM)


def _name(file: str) -> str:
    return "standard input" if file == STDIN else file


def _size(count: int) -> str:
    return f"{count / MEBIBYTE:.1f} MiB" if count >= MEBIBYTE // 10 else f"{count} bytes"


def _fields(file: str, taken: str, trial: Trial) -> dict[str, object]:
    return {
        "file": file,
        "as": taken,
        "read_as": trial.read_as,
        "action": trial.action.name.lower(),
        "action_if_kept": trial.kept.name.lower(),
        "findings": [_finding_fields(located) for located in trial.findings],
    }


def _finding_fields(located: LocatedFinding) -> dict[str, object]:
    finding = located.finding
    return {
        "rule": finding.rule,
        "action": finding.action.name.lower(),
        "severity": finding.severity.name.lower(),
        "confidence": finding.confidence.name.lower(),
        "place": finding.place,
        "view": finding.view,
        "start": None if located.start is None else located.start._asdict(),
        "end": None if located.end is None else located.end._asdict(),
        "excerpt": visible(finding.excerpt),
        "note": finding.note,
        "steps": list(finding.steps),
    }


def _page(name: str, trial: Trial, *, with_steps: bool) -> str:
    head = f"{visible(name)}, read as {trial.read_as}: {_WOULD[trial.action]}."
    if not trial.findings:
        return f"{head} Nothing was found."
    head += _if_kept(trial, "\n")
    rows = [_row(located) for located in trial.findings]
    titles = ("action", "rule", "severity", "confidence", "where", "view")
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    lines = [head, "", _columns(titles, widths)]
    for located, row in zip(trial.findings, rows, strict=True):
        action, rest = row[0].ljust(widths[0]), _columns(row[1:], widths[1:])
        stops = located.finding.action >= Action.REDACT
        lines.append(f"{click.style(action, fg='red' if stops else 'yellow')}  {rest}")
        words = located.finding.excerpt or located.finding.note
        if words:
            lines.append(f"{'':{widths[0]}}  {visible(words)}")
        if with_steps:
            lines += [f"{'':{widths[0]}}  {step}" for step in located.finding.steps]
    lines += ["", "What a rule is for, and what to do:"]
    lines += [f"  pipeguard explain {rule}" for rule in dict.fromkeys(row[1] for row in rows)]
    return "\n".join(lines)


def _row(located: LocatedFinding) -> tuple[str, ...]:
    finding = located.finding
    return (
        finding.action.name.lower(),
        finding.rule,
        finding.severity.name.lower(),
        finding.confidence.name.lower(),
        _where(located.start, located.end) or finding.place,
        finding.view,
    )


def _where(start: Spot | None, end: Spot | None) -> str:
    """The position as editors show it: line and column, from 1."""
    if start is None:
        return ""
    return f"{start.line}:{start.column}" + ("" if end is None else f"-{end.line}:{end.column}")


def _columns(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


# ---  scan files ------------------------------------------------------------------------
# The files that `scan` is given: by name, by folder, by pattern.

STDIN = "-"
MOST_WORDS = 10_000  # of a text, looked up among the documented credentials
_CREDENTIAL = re.compile(r"[A-Za-z0-9_/+.-]{14,400}={0,2}")
_MAGIC = "*?["
_SEPARATORS = os.sep + (os.altsep or "")


@dataclass(frozen=True, slots=True)
class ScanFiles:
    """The texts to judge.

    Attributes:
        paths: of files, each once, in the order of the words that name them.
        chosen: those that a person named one by one; what cannot be read of others is skipped.
    """

    paths: tuple[str, ...]
    chosen: frozenset[str]

    @property
    def is_one(self) -> bool:
        """True for one file by its name, or standard input."""
        return len(self.paths) == 1 and self.paths[0] in self.chosen


def scan_files(words: Sequence[str]) -> ScanFiles:
    """The files that words name: a file, a folder with all below it, or a pattern (`**/*.md`).

    Hidden files and folders, and links, are left out where no word names them.

    Raises:
        InputError: a word names nothing, or standard input is not the only one.
    """
    if STDIN in words and len(words) > 1:
        raise InputError("standard input (-) is judged by itself: leave out the files, or -.")
    paths: dict[str, None] = {}
    chosen = set()
    for word in words:
        if word == STDIN or os.path.isfile(word):
            chosen.add(word)
            paths[word] = None
            continue
        found = list(_below(word) if os.path.isdir(word) else _matching(word))
        if not found:
            raise InputError(_not_a_file(word))
        paths |= dict.fromkeys(found)
    return ScanFiles(tuple(paths), frozenset(chosen))


def _not_a_file(word: str) -> str:
    """Say how to pass what is no file: an address, or a text."""
    shown = quote(word) if len(word) <= _SHOWN_CHARS else "…"
    if re.match(r"https?://", word):
        return (
            "scan reads files, not addresses. To judge what it answers:\n"
            f"  curl -sL {shown} | pipeguard scan -"
        )
    if os.path.exists(word) and not os.path.isdir(word):
        return (
            f"{show(word, _SHOWN_CHARS)!r} is a pipe or a device, and scan reads files. To judge"
            " what a command gives:\n  COMMAND | pipeguard scan -"
        )
    missing = f"{show(word, _SHOWN_CHARS)!r} names no file."
    is_pattern = " " not in word and any(sign in word for sign in _MAGIC)
    if os.path.isdir(word) or is_pattern:
        return missing
    return f"{missing} To judge it as a text:\n  printf %s {shown} | pipeguard scan -"


def _below(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise InputError(f"{visible(str(error.filename))} cannot be read: {error.strerror}.")

    for root, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)
            if not name.startswith(".") and _is_own_file(path):
                yield path


def _matching(pattern: str) -> Iterator[str]:
    """The files that match; a pattern may come in quotes, where the shell does not expand it."""
    if any(sign in pattern for sign in _MAGIC):
        drive, rest = os.path.splitdrive(pattern)
        begin = drive + rest[: len(rest) - len(rest.lstrip(_SEPARATORS))]
        steps = [step for step in re.split(f"[{re.escape(_SEPARATORS)}]+", rest) if step]
        found = dict.fromkeys(_expand(begin, tuple(steps)))
        yield from sorted(path for path in found if _is_own_file(path))


def _expand(folder: str, steps: tuple[str, ...]) -> Iterator[str]:
    """The paths that the steps of a pattern lead to; `**` stands for folders, and for no links.

    A link to a folder above it would lead to every file again and again, as `glob` follows it.
    """
    if not steps:
        yield folder
        return
    step, rest = steps[0], steps[1:]
    if step == "**":
        while rest[:1] == ("**",):
            rest = rest[1:]
        steps = ("**", *rest)
        rest = rest or ("*",)
        yield from _expand(folder, rest)
        for name in _names(folder):
            path = os.path.join(folder, name)
            if not name.startswith(".") and os.path.isdir(path) and not os.path.islink(path):
                yield from _expand(path, steps)
    elif any(sign in step for sign in _MAGIC):
        for name in fnmatch.filter(_names(folder), step):
            if step.startswith(".") or not name.startswith("."):
                yield from _expand(os.path.join(folder, name), rest)
    else:
        yield from _expand(os.path.join(folder, step), rest)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (NotADirectoryError, FileNotFoundError):
        return []
    except OSError as error:
        raise InputError(f"{visible(folder)} cannot be read: {error.strerror}.") from None


def _is_own_file(path: str) -> bool:
    """True if it is a file, and neither a link nor a pipe, which would be waited for."""
    return os.path.isfile(path) and not os.path.islink(path)
