"""Files and hosts that a call names; uncertain ones are left out."""

import pytest

from pipeguard.detect.commands.call_names import (
    KEPT_BYTES,
    MOST_CHARS,
    MOST_NAMES,
    MOST_STRINGS,
    UNNAMED,
    find_targets,
    printed_files,
)
from pipeguard.detect.model.data_literals import FileKind
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def named(
    tool: str, arguments: JsonValue, method: str = "tools/call"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    params: JsonObject = {"name": tool, "arguments": arguments}
    return find_targets(method, tool, params, 10).facts.names


@each(
    "tool, arguments, paths, hosts",
    [
        *CASES["files_and_hosts_are_named"],
        (
            "read_file",
            {"path": "/srv/a.md", "from": Number("3"), "to": Number("9")},
            ["/srv/a.md"],
            [],
        ),
        ("write_file", {"path": "a.md", "content": "x/../y " * 200}, ["a.md"], []),
        ("get", {"path": "a.md", "note": "word " * MOST_CHARS}, ["a.md"], []),
        ("fetch", {"url": "https://a.example/?" + "q" * MOST_CHARS}, [], ["a.example"]),
    ],
)
def test_files_and_hosts_are_named(
    tool: str, arguments: JsonValue, paths: list[str], hosts: list[str]
) -> None:
    assert named(tool, arguments) == (tuple(paths), tuple(hosts))


@each(
    "tool, arguments",
    [
        *CASES["what_is_not_certain_names_nothing"],
        ("read_file", {"path": "a" * (MOST_CHARS + 1)}),
        ("read_files", {"paths": [f"a{n}" for n in range(MOST_NAMES + 1)]}),
        ("read_files", {"paths": ["a"] * (MOST_STRINGS + 1)}),
        ("read_files", {"paths": [[]] * (5 * MOST_STRINGS) + ["b"]}),
        ("fetch", {"url": "https://a.example", "ip": Number("2130706433")}),
        ("fetch", {"url": "https://a.example", "body_of": "see https://b.example " * 100}),
        ("read_file", {"path": "file:///" + "a" * MOST_CHARS}),
        ("get", {"path": "/srv/a", "also": "/" * 2_000_000 + " "}),
    ],
)
def test_what_is_not_certain_names_nothing(tool: str, arguments: JsonValue) -> None:
    assert named(tool, arguments) == UNNAMED


def test_a_resource_is_named_by_its_address() -> None:
    params: JsonObject = {"uri": "file:///srv/a.md"}
    assert find_targets("resources/read", None, params, 10).facts.names[0] == ("/srv/a.md",)
    assert find_targets("prompts/get", None, params, 10).facts.names == UNNAMED
    assert find_targets("resources/read", None, [], 10).facts.names == UNNAMED


@each(
    "tool, arguments, expected",
    [
        *CASES["a_call_may_ask_another_machine"],
        ("read_file", {"rows": ["a"] * MOST_STRINGS}, False),
        ("read_file", {"rows": ["a"] * (MOST_STRINGS + 1)}, True),
    ],
)
def test_a_call_may_ask_another_machine(
    tool: str, arguments: JsonObject, *, expected: bool
) -> None:
    params: JsonObject = {"name": tool, "arguments": arguments}
    call = find_targets("tools/call", tool, params, 10)
    assert call.facts.fetches is expected
    call.forget()
    assert not call.facts.fetches


@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("read_file", {"path": "tests/a.json"}, FileKind.TESTS),
        ("read_file", {"path": "tests/a.json", "also": "README.md"}, FileKind.OTHER),
        ("execute_command", {"command": "cat evals/attacks.txt"}, FileKind.ATTACKS),
        ("execute_command", {"command": "cat evals/attacks.txt README.md"}, FileKind.OTHER),
        ("execute_command", {"command": "curl a.example/attacks.txt"}, FileKind.OTHER),
        ("execute_command", {"command": "cat " + "a" * MOST_CHARS + "/attacks"}, FileKind.OTHER),
        ("fetch", {"url": "https://a.example/tests/attacks.json"}, FileKind.OTHER),
        ("read_file", {"path": "tests/../a.json"}, FileKind.OTHER),
        ("run", {"rows": ["a"] * MOST_STRINGS}, FileKind.OTHER),
    ],
)
def test_a_call_says_what_it_reads(tool: str, arguments: JsonObject, kind: FileKind) -> None:
    call = find_targets("tools/call", tool, {"name": tool, "arguments": arguments}, 10)
    assert call.facts.file_kind == kind
    call.forget()
    assert call.facts.file_kind == FileKind.OTHER
    resource = find_targets("resources/read", None, {"uri": "tests/a.json"}, 10)
    assert resource.facts.file_kind == FileKind.OTHER


@each("path", ["src/x.go", "a/Main.java", "C:\\a\\b.cpp", "AGENTS.md", "skills/a/b.md", "llms.txt"])
@each("other", ["x.h", "README.md", "src", "a.json", "x.go.md", "llms.txt.html"])
def test_a_call_says_whether_agents_are_meant_to_read_its_files(path: str, other: str) -> None:
    params: JsonObject = {"name": "read_files", "arguments": {"paths": [path, other]}}
    call = find_targets("tools/call", "read_files", params, 10)
    assert call.facts.are_for_agents is (other == "x.h")


@pytest.mark.parametrize("frame_bytes", [10, 10 * KEPT_BYTES])
def test_a_call_is_read_when_it_is_asked_for_or_at_once_if_it_is_long(frame_bytes: int) -> None:
    params: JsonObject = {"name": "read_file", "arguments": {"path": "a.md"}}
    call = find_targets("tools/call", "read_file", params, frame_bytes)
    params.clear()
    is_kept = frame_bytes <= KEPT_BYTES
    assert call.facts.names[0] == (() if is_kept else ("a.md",))
    assert call.facts.names[0] == (() if is_kept else ("a.md",)), "and once"
    assert call.size_bytes == (100 if is_kept else 4)
    call.forget()
    assert call.facts.names == UNNAMED


# --- files that a command prints ---------------------------------------------------------------


@each("command, files", CASES["files_are_told_of_commands_that_only_print"])
def test_files_are_told_of_commands_that_only_print(command: str, files: list[str]) -> None:
    assert printed_files(command) == tuple(files)
