"""`pipeguard scan`: judges any text by the rules and the policy in force. Stores nothing."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from glob import glob
from itertools import islice, takewhile
from pathlib import Path
from time import monotonic

import click

from pipeguard.cli._emit import (
    Fields,
    choice,
    columns,
    emit,
    flag,
    json_option,
    render,
    value_option,
)
from pipeguard.cli._setup_request import must_have_effect
from pipeguard.config.options import WrapOptions
from pipeguard.errors import InputError
from pipeguard.rulebook.policy_rules import load_wrap_policy
from pipeguard.rulebook.trial import USUAL_KEY, LocatedFinding, TextRole, Trial, TrialInput, judge
from pipeguard.runtime.progress import say_if_slow, wait_for_engines
from pipeguard.unicode.display import pluralize, show, visible

BOM = "\ufeff"
KEY_BYTES = 32
MEBIBYTE = 2**20
STDIN = "-"
MOST_LISTED = 20  # skipped files, or matches that were not found
MOST_WORDS = 10_000  # of a text, looked up among the documented credentials
_SHOWN_CHARS = 80  # of a word that names no file
_CREDENTIAL = re.compile(r"[A-Za-z0-9_/+.-]{14,400}={0,2}")
_MAGIC = re.compile(r"[*?[]")
_STOPPED = ("redact", "cut", "ask", "block")
# A blocked definition is left out of the list of tools, and its tool cannot be called.
_WOULD = {
    "allow": "would pass",
    "warn": "would pass, with a warning",
    "redact": "would pass with placeholders in place of what was found",
    "cut": "would pass with a line in place of each passage that was found",
    "ask": "would wait for your decision",
    "block": "would be blocked",
}


@click.command("scan", short_help="Try a text against the rules and your policy.")
@click.argument("words", metavar="FILE|FOLDER|-...", nargs=-1, required=True, type=click.Path())
@choice(
    "--as",
    [kind.value for kind in TextRole],
    "What the text is judged as.",
    "taken",
    default=TextRole.RESULT.value,
    show_default=True,
)
@value_option("--tool", "NAME", "The tool that it comes from or goes to.")
@value_option("--server", "NAME", "The server, for a policy that names servers.")
@value_option(
    "--key",
    "NAME",
    "With --as arguments: the name of the argument that contains a plain text.",
    default=USUAL_KEY,
    show_default=True,
)
@value_option(
    "--policy",
    "FILE",
    "Use this policy instead of your own.",
    type=click.Path(exists=True, dir_okay=False),
)
@choice(
    "--fail-on",
    ["block", "warn"],
    "Exit with 1 if something would be blocked, cut out or redacted; with `warn`, also for"
    " warnings.",
    default="block",
    show_default=True,
)
@flag(
    "--why", "Say how each finding was rated, what decided on its action, and what was not found."
)
@json_option
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
) -> None:
    """Judge files, or standard input (-), as `wrap` would, and say what would happen to them.

    Of a folder, each text below it is judged that is not hidden. A pattern in quotes is expanded.

    As a result, the text is what a tool returns; as arguments, what a tool is called with; as a
    definition, its description. JSON is recognized: a result with its content, an object of
    arguments, one tool or a list of tools, or a whole message of each kind. Other JSON is text.
    Rules, views and policy are those of `wrap`; pins, and what other calls returned, are not
    considered. Arguments are judged as if the tool may send them away. Secrets are masked. Of a
    rule with many findings, a few are shown; of several files, each has a line with its verdict and
    rules, unless --why asks for all of it.

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
    options = WrapOptions(values={} if policy is None else {"--policy": policy})
    rules = load_wrap_policy(options)
    paths = list_files(words)
    limit = rules.limits.frame_bytes
    named = {path: _read(path, limit) for path in paths if path in words}
    compiled = wait_for_engines()
    files: list[Fields] = []
    skipped: list[Fields] = []
    is_all_read = True
    with say_if_slow(f"loading the rules and judging {pluralize(len(paths), 'file')}"):
        for path in paths:
            try:
                text = named[path] if path in named else _read(path, limit)
            except InputError as error:
                skipped.append({"file": path, "why": str(error)})
                is_all_read &= isinstance(error, _NotTextError)
                continue
            trial_input = TrialInput(text, TextRole(taken), tool, server, key, why)
            trial = judge(compiled, rules, trial_input, os.urandom(KEY_BYTES), monotonic())
            files.append(_fields(path, taken, trial))
            if why:
                files[-1]["dropped"] = list(map(_finding_fields, trial.dropped))
    stopping = {"warn", *_STOPPED} if fail_on == "warn" else _STOPPED
    code = int(any(file["action"] in stopping for file in files))
    if len(paths) == 1 and named:
        examples = _published_words(named[paths[0]])
        emit(files[0], lambda _: [_screen(files, (), is_single=True), *examples], code=code)
    value = {"files": files, "skipped": skipped}
    code = code or (0 if is_all_read else InputError.exit_code)
    emit(value, lambda _: _screen(files, skipped, is_single=False), code=code)


class _NotTextError(InputError):
    """A file is not text, such as an image."""


def _fields(path: str, taken: str, trial: Trial) -> Fields:
    return {
        "file": path,
        "as": taken,
        "read_as": trial.read_as,
        "action": trial.action.name.lower(),
        "action_if_kept": trial.kept.name.lower(),
        "findings": list(map(_finding_fields, trial.findings)),
    }


def _finding_fields(located: LocatedFinding) -> Fields:
    finding = located.finding
    return {
        "rule": finding.rule,
        "action": finding.action.name.lower(),
        "severity": finding.severity.name.lower(),
        "confidence": finding.confidence.name.lower(),
        "place": finding.place,
        "view": finding.view,
        "start": located.start and located.start._asdict(),
        "end": located.end and located.end._asdict(),
        "excerpt": visible(finding.excerpt),
        "note": finding.note,
        "steps": finding.steps,
    }


def _screen(files: Sequence[Fields], skipped: Sequence[Fields], *, is_single: bool) -> str:
    """Report all findings of a single file; else each file in a line, or with its reasons."""
    fields: Fields = {
        "is_single": is_single,
        "files": files,
        "found": [file for file in files if file["findings"] or file.get("dropped")],
        "skipped": skipped,
        "would": _WOULD,
        "stopped": _STOPPED,
        "most": MOST_LISTED,
    }
    return render("scan", fields, table=_table, where=_where)


def _table(findings: Sequence[Fields]) -> Iterator[str]:
    titles = ("action", "rule", "severity", "confidence", "where", "view")
    return columns(
        titles, [[{**each, "where": _where(each)}[t] for t in titles] for each in findings]
    )


def _where(finding: Fields) -> str:
    """Format the position as editors show it: line and column, from 1."""
    spots = filter(None, (finding["start"], finding["end"]))
    return "-".join(f"{spot['line']}:{spot['column']}" for spot in spots) or finding["place"]


def _published_words(text: str) -> list[str]:
    """Note credentials that are examples in a vendor's documentation, which no rule reports."""
    from pipeguard.detect.checks.placeholders import is_published

    words = (word[0] for word in islice(_CREDENTIAL.finditer(text), MOST_WORDS))
    return [
        f"note: {word[:4]}… is a documented example key, so it is not reported."
        for word in dict.fromkeys(words)
        if is_published(word.encode())
    ]


# --- files ----------------------------------------------------------------------------------


def _read(path: str, limit_bytes: int) -> str:
    """Read the text to judge.

    Raises:
        InputError: it cannot be read, is larger than a message may be, or is not text.
    """
    name = visible(_name(path))
    try:
        if path != STDIN:
            with Path(path).open("rb") as stream:
                data = stream.read(limit_bytes + 1)
        elif sys.stdin is None:
            raise InputError("standard input is closed.")
        else:
            data = sys.stdin.buffer.read(limit_bytes + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > limit_bytes:
        raise InputError(
            f"{name} is larger than a message may be: {_size(limit_bytes)} (`limits.frame`)."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = f"byte {data[error.start]:#04x} at {error.start}"
        raise _NotTextError(f"{name} is not text in UTF-8: {at}.") from None
    if "\0" in text:
        raise _NotTextError(f"{name} is not text: it contains a null byte at {data.index(0)}.")
    return text.removeprefix(BOM)


def _name(path: str) -> str:
    return "standard input" if path == STDIN else path


def _size(count: int) -> str:
    return f"{count / MEBIBYTE:.1f} MiB" if count >= MEBIBYTE // 10 else f"{count} bytes"


def list_files(words: Sequence[str]) -> list[str]:
    """List the files that words name: a file, a folder and all below it, or a pattern (`**/*.md`).

    Hidden files and folders, and links, are left out unless a word names them.

    Raises:
        InputError: a word names nothing, or standard input is not the only word.
    """
    if STDIN in words and len(words) > 1:
        raise InputError("standard input (-) is judged by itself: leave out the files, or -.")
    paths: dict[str, None] = {}
    for word in words:
        if word == STDIN or os.path.isfile(word):
            paths[word] = None
            continue
        found = list(_below(word) if os.path.isdir(word) else _matching(word))
        if not found:
            raise InputError(f"{show(word, _SHOWN_CHARS)!r} names no file.")
        paths |= dict.fromkeys(found)
    return list(paths)


def _below(folder: str) -> Iterator[str]:
    """Yield the files below a folder, without hidden ones, links and pipes."""

    def fail(error: OSError) -> None:
        raise InputError(f"{visible(str(error.filename))} cannot be read: {error.strerror}.")

    for root, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)
            if not name.startswith(".") and _is_own_file(path):
                yield path


def _matching(pattern: str) -> Iterator[str]:
    """Yield the files that match; a quoted pattern reaches us unexpanded by the shell.

    `**` matches folders but no links: `glob` would follow a link to a parent folder to every file
    again and again.
    """
    if "**" not in pattern:
        yield from sorted(filter(_is_own_file, glob(pattern)))
        return
    steps = pattern.replace("/", os.sep).split(os.sep)
    fixed = list(takewhile(lambda step: not _MAGIC.search(step), steps))
    folder = os.sep.join([*fixed, ""])
    for path in _below(folder or os.curdir):
        name = os.path.relpath(path, folder or os.curdir)
        if _fits(name.split(os.sep), steps[len(fixed) :]):
            yield os.path.join(folder, name)


def _fits(names: Sequence[str], steps: Sequence[str]) -> bool:
    """True if the names of folders and a file fit the steps of a pattern."""
    if not steps:
        return not names
    if steps[0] == "**":
        rest = steps[1:]
        return not rest or any(_fits(names[at:], rest) for at in range(len(names)))
    return bool(names) and fnmatchcase(names[0], steps[0]) and _fits(names[1:], steps[1:])


def _is_own_file(path: str) -> bool:
    """True for a file, but not for a link, or a pipe, on which a read would block."""
    return os.path.isfile(path) and not os.path.islink(path)
