"""The parts of detection that can be taken out, to see what each is worth.

Many are entries of tables in `pipeguard.detect`: readings, encodings, programs whose output is
known, disguises of PowerShell. They are taken out from here, so that detection has no switch and
pays for none. For functions, of commands, flows and models, something stands in that finds nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from time import thread_time
from typing import Any

from pipeguard.detect.commands import (
    argument_values,
    effects,
    interpret,
    nested_commands,
    path_normalisation,
    powershell,
    programs,
    shell_output,
    sql,
    word_expansion,
)
from pipeguard.detect.commands.file_access import FileAccess
from pipeguard.detect.commands.posix_shell import WordReader, _Script
from pipeguard.detect.commands.powershell import DISGUISES
from pipeguard.detect.commands.shell_output import PRINTING_PROGRAMS
from pipeguard.detect.flows import leak_search, outgoing_call, secret_values, tool_results
from pipeguard.detect.flows.outgoing_call import Call
from pipeguard.detect.flows.people_rows import TakenRows
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.detect.model import cascade, quotation
from pipeguard.detect.model.classifier import Classifier
from pipeguard.detect.model.opener import Opener, Stretch
from pipeguard.detect.scanning.readings import READINGS, TextReading
from pipeguard.detect.scanning.scan import Scan
from pipeguard.detect.text.decoders import ENCODINGS
from pipeguard.detect.text.encoding import Encoding

Note = Callable[[float, bool], None]  # seconds that a part took, and whether that changed anything
Changes = Callable[[tuple[Any, ...], Any], bool]  # whether a call, of these arguments, did anything


SCORE = 9.0  # of a text that is opened whole


class PartError(Exception):
    """No part has this name, or several have."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of detection that it can do without.

    Attributes:
        name: its kind, a dot, and its own name: `encoding.base64`.
        taken_out: has detection do without it, in a `with` block.
        watched: has it report what it does, in a `with` block.
    """

    name: str
    taken_out: Callable[[], AbstractContextManager[None]]
    watched: Callable[[Note], AbstractContextManager[None]]


def parts() -> dict[str, Part]:
    """All parts, by name."""
    all_parts = [
        *(
            _entry(f"reading.{name}", READINGS, name, _watched_reading)
            for name in READINGS
            if name != "text"
        ),
        *(_entry(f"encoding.{name}", ENCODINGS, name, _watched_encoding) for name in ENCODINGS),
        *_command_readers(),
        *_flow_heuristics(),
        *_model_stages(),
    ]
    return {part.name: part for part in all_parts}


def part_of(name: str) -> Part:
    """The part of a name, which may be only its own name.

    Raises:
        PartError: there is none, or there are several.
    """
    by_name = parts()
    if name in by_name:
        return by_name[name]
    named = [part for part in by_name.values() if part.name.partition(".")[2] == name]
    if len(named) != 1:
        raise PartError(f"{name}: {'several parts have this name' if named else 'no such part'}")
    return named[0]


@contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """Take several parts out for a while.

    Raises:
        PartError: one of the names is no part's.
    """
    with ExitStack() as stack:
        for part in [part_of(name) for name in names]:
            stack.enter_context(part.taken_out())
        yield


# --- entries of tables --------------------------------------------------------------------


def _entry(name: str, table: dict[str, Any], key: str, watch: Callable[[Any, Note], Any]) -> Part:
    @contextmanager
    def taken_out() -> Iterator[None]:
        entries = dict(table)
        del table[key]
        try:
            yield
        finally:
            table.clear()
            table.update(entries)  # in their order

    @contextmanager
    def watched(note: Note) -> Iterator[None]:
        entry = table[key]
        table[key] = watch(entry, note)
        try:
            yield
        finally:
            table[key] = entry

    return Part(name, taken_out, watched)


def _watched_reading(reading: TextReading, note: Note) -> TextReading:
    def read(scan: Scan) -> None:
        before, began = _state(scan), thread_time()
        reading.read(scan)
        note(thread_time() - began, _state(scan) != before)

    return reading._replace(read=read)


def _state(scan: Scan) -> tuple[object, ...]:
    """All of a scan that a reading can change, as far as it decides what is found."""
    return (
        *(len(scan.matches), len(scan.unread_passages)),
        *(len(scan.to_classify), len(scan.signs), len(scan.folded_signs)),
        *(scan.has_undecoded, scan.tally.is_exhausted),
    )


def _watched_encoding(encoding: Encoding, note: Note) -> Encoding:
    return encoding._replace(decode=_watched(encoding.decode, note, _gives_something))


# --- functions ----------------------------------------------------------------------------


def _function(
    name: str, owner: object, key: str, stand_in: Callable[..., Any], changes: Changes | None = None
) -> Part:
    """A function of a module or a class, and what stands in for it."""
    function = getattr(owner, key)

    @contextmanager
    def replaced(by: Callable[..., Any]) -> Iterator[None]:
        setattr(owner, key, by)
        try:
            yield
        finally:
            setattr(owner, key, function)

    def differs(given: tuple[Any, ...], result: object) -> bool:
        return bool(result != stand_in(*given))

    return Part(
        name,
        lambda: replaced(stand_in),
        lambda note: replaced(_watched(function, note, changes or differs)),
    )


def _watched(function: Callable[..., Any], note: Note, changes: Changes) -> Callable[..., Any]:
    @wraps(function)
    def watched(*given: Any, **named: Any) -> Any:
        began = thread_time()
        result = function(*given, **named)
        if isinstance(result, Iterator):
            result = list(result)
        note(thread_time() - began, changes(given, result))
        return result

    return watched


def _gives_something(_given: tuple[Any, ...], result: object) -> bool:
    return bool(result)


def _always(_given: tuple[Any, ...], _result: object) -> bool:
    return True


def _command_readers() -> Iterator[Part]:
    """Parts that read the arguments of a call as commands, statements and paths."""
    for program in PRINTING_PROGRAMS:
        yield _entry(f"command.output-of-{program}", PRINTING_PROGRAMS, program, _watched_printing)
    for disguise in DISGUISES:
        yield _entry(f"command.powershell-{disguise}", DISGUISES, disguise, _watched_undoing)
    yield _function("command.shell-output", shell_output, "find_output", lambda _pipeline: None)
    yield _function("command.escapes", shell_output, "_unescape", lambda match: match[0])
    yield _function("command.powershell", powershell, "_undisguise", lambda text: text)
    yield _function("command.sql", sql, "_lines", lambda _text: [])
    yield _function("command.braces", word_expansion, "_first_brace_words", lambda word: [word])
    yield _function("command.substrings", word_expansion, "_substring", lambda value, _part: value)
    yield _function("command.word-separators", WordReader, "_divide", lambda _reader, value: value)
    yield _function("command.here-documents", _Script, "_heredoc", lambda *_: "")
    yield from _command_interpreters()
    yield from _value_readers()


def _command_interpreters() -> Iterator[Part]:
    """Parts that read what programs of a command line do with their arguments."""
    yield _function("command.powershell-lines", powershell, "is_windows", lambda _text: False)
    yield _function("command.globs", interpret, "match_file", lambda word: word)
    yield _function("command.wrappers", interpret, "unwrap_command", lambda words: (words, False))
    yield _function("command.inline-scripts", programs, "find_script", lambda _words: "")
    yield _function("command.inline-programs", nested_commands, "_find_program", lambda *_: None)
    yield _function("command.sql-clients", nested_commands, "_client_lines", lambda *_: [])
    yield _function("command.shell-calls", interpret, "shell_calls", lambda _text: [])
    yield _function("command.opened-files", interpret, "opened_file_lines", lambda _text: [])
    for name, key in (
        ("files", "follow"), ("git-clone", "_clone"), ("dd", "_copy_blocks"),
        ("downloads", "_transfer"), ("run-downloads", "run"),
    ):  # fmt: skip
        yield _function(f"command.{name}", FileAccess, key, lambda *_: None, _always)


def _value_readers() -> Iterator[Part]:
    """Parts that read a value that is not a command."""
    yield _function(
        "command.paths", path_normalisation, "path_lines", lambda *_, **__: [], _gives_something
    )
    yield _function("command.injections", argument_values, "injects_command", lambda _value: False)
    yield _function("command.options", argument_values, "read_options", lambda *_: [])
    yield _function("command.long-values", argument_values, "_read_long_value", lambda *_: [])
    yield _function("command.option-lists", effects, "_option_list_lines", lambda *_: [])
    yield _function("command.named-tools", effects, "_program_of_tool", lambda *_: [])
    yield _function("command.json-lists", effects, "_words_of_json", lambda _value: [])


def _watched_printing(program: Any, note: Note) -> Any:
    return _watched(program, note, lambda _given, result: result is not None)


def _watched_undoing(disguise: Any, note: Note) -> Any:
    return _watched(disguise, note, lambda given, result: bool(result != given[0]))


def _flow_heuristics() -> Iterator[Part]:
    """Parts of flows: signs of a leak, values of a call, and excuses."""
    follow = Call.follow

    def follow_nothing(call: Call, _before: list[str], others: list[str]) -> None:
        follow(call, [], others)

    yield _function("flow.secrets", leak_search, "_rate_secret", lambda *_: None)
    yield _function("flow.named-secrets", secret_values, "find_named_secrets", lambda _text: [])
    yield _function("flow.secrets-in-pieces", outgoing_call, "in_pieces", lambda *_: False)
    yield _function("flow.private-text", leak_search, "_rate_text", lambda *_, **__: None)
    yield _function("flow.hidden-text", Call, "hides", lambda *_: 0)
    yield _function("flow.lists-of-people", Call, "count_taken", lambda *_: TakenRows())
    yield _function("flow.marked", ToolResult, "is_marked", lambda _result: False)
    yield _function("flow.personal", tool_results, "tells_of_people", lambda _text: False)
    yield _function("flow.orders-obeyed", leak_search, "_find_obeyed", lambda *_: [])
    yield _function("flow.untrusted-run", leak_search, "_find_repeated", lambda *_: [])
    yield _function("flow.decoded-calls", outgoing_call, "list_readings", _as_it_is)
    yield _function("flow.torn-calls", Call, "follow", follow_nothing, _is_followed)
    yield _function("flow.lines-of-calls", Call, "count_continued", lambda *_: 0)
    yield _function("flow.goes-back", Call, "goes_back", lambda *_: False)


def _as_it_is(text: bytes) -> list[str]:
    return [text.decode("utf-8", "ignore")]


def _is_followed(given: tuple[Any, ...], _result: object) -> bool:
    return bool(given[1])


def _model_stages() -> Iterator[Part]:
    yield _function(
        "model.network",
        Classifier,
        "network_scores",
        lambda _classifier, texts: [0.0] * len(texts),
        _gives_something,
    )
    yield _function("model.opener", Opener, "stretches", _whole_text, _always)
    yield _function(
        "model.doubt", cascade.Reader, "doubts", lambda *_given, **_named: False, _gives_something
    )
    yield _function("model.told", quotation, "unquote", lambda *_given: None)


def _whole_text(_gate: Opener, data: bytes) -> list[Stretch]:
    """A classifier reads everything."""
    return [Stretch(0, len(data), SCORE)] if data else []


@contextmanager
def watching(chosen: Iterable[Part]) -> Iterator[dict[str, tuple[float, bool]]]:
    """Watch several parts for a while.

    Returns:
        By name, the seconds that a part took, and whether it changed anything.
    """
    seen: dict[str, tuple[float, bool]] = {}

    def note_of(name: str) -> Note:
        def note(seconds: float, is_changing: bool) -> None:  # noqa: FBT001  of a table's row
            took, was_changing = seen[name]
            seen[name] = took + seconds, was_changing or is_changing

        return note

    with ExitStack() as stack:
        for part in chosen:
            seen[part.name] = 0.0, False
            stack.enter_context(part.watched(note_of(part.name)))
        yield seen
