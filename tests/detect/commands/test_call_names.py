"""Which files and hosts a call names; what is not certain is named in no way."""

import pytest

from pipeguard.detect.commands.call_names import (
    KEPT_BYTES,
    MOST_CHARS,
    MOST_NAMES,
    MOST_STRINGS,
    UNNAMED,
    NamedCall,
    printed_files,
)
from pipeguard.detect.model.data_literals import FileKind
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number


def named(
    tool: str, arguments: JsonValue, method: str = "tools/call"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    params: JsonObject = {"name": tool, "arguments": arguments}
    return NamedCall(method, tool, params, 10).names


@pytest.mark.parametrize(
    ("tool", "arguments", "paths", "hosts"),
    [
        ("read_file", {"path": "/srv/a.md"}, ["/srv/a.md"], []),
        ("read_file", {"path": "README"}, ["README"], []),
        ("read_file", {"path": ".//srv/./a.md"}, ["srv/a.md"], []),
        ("read_file", {"path": "file:///srv/a.md"}, ["/srv/a.md"], []),
        ("read_file", {"path": "C:\\x\\a.md"}, ["C:/x/a.md"], []),
        ("write_file", {"path": "a.md", "content": "see /etc/passwd"}, ["a.md"], []),
        ("read_files", {"paths": ["a/b", "c/d"]}, ["a/b", "c/d"], []),
        ("search_code", {"query": "a/b", "path": "src"}, ["src"], []),
        ("fetch", {"url": "https://Docs.Example.com:443/a?b"}, [], ["docs.example.com"]),
        ("ping", {"host": "example.com"}, [], ["example.com"]),
        ("get", {"thing": "x", "other": "srv/a.md"}, ["srv/a.md"], []),
        (
            "read_file",
            {"path": "/srv/a.md", "from": Number("3"), "to": Number("9")},
            ["/srv/a.md"],
            [],
        ),
        (
            "read_file",
            {"path": "/srv/a.md", "also": "/etc/my keys"},
            ["/srv/a.md", "/etc/my keys"],
            [],
        ),
        ("read_file", {"path": "/srv/a.md", "also": ".env"}, ["/srv/a.md", ".env"], []),
        (
            "read_file",
            {"path": "/srv/a.md", "map": {"/etc/hosts": True}},
            ["/srv/a.md", "/etc/hosts"],
            [],
        ),
        ("read_file", {"path": "file://localhost/srv/a.md"}, ["/srv/a.md"], []),
        ("write_file", {"path": "a.md", "content": "x/../y " * 200}, ["a.md"], []),
        ("get", {"path": "a.md", "note": "as told, v1.2 at 12:30"}, ["a.md"], []),
        ("get", {"path": "a.md", "note": "word " * MOST_CHARS}, ["a.md"], []),
        ("fetch", {"url": "https://a.example/?" + "q" * MOST_CHARS}, [], ["a.example"]),
        (
            "fetch",
            {"url": "https://a.example/", "proxy": "b.example:80"},
            [],
            ["a.example", "b.example"],
        ),
        ("wait", {"seconds": 3}, [], []),
        ("wait", None, [], []),
    ],
)
def test_files_and_hosts_are_named(
    tool: str, arguments: JsonValue, paths: list[str], hosts: list[str]
) -> None:
    assert named(tool, arguments) == (tuple(paths), tuple(hosts))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("read_file", {"path": "/srv/../etc/passwd"}),
        ("read_file", {"path": "/srv/%2e%2e/x"}),
        ("read_file", {"path": "a\nb"}),
        ("read_file", {"path": "a" * (MOST_CHARS + 1)}),
        ("read_file", {"path": ""}),
        ("read_files", {"paths": ["/srv/a", "/srv/../b"]}),
        ("read_files", {"paths": [f"a{n}" for n in range(MOST_NAMES + 1)]}),
        ("read_files", {"paths": ["a"] * (MOST_STRINGS + 1)}),
        ("read_files", {"paths": [[]] * (5 * MOST_STRINGS) + ["b"]}),
        ("run_command", {"command": "cat a.md", "path": "a.md"}),
        ("query", {"sql": "select 1", "path": "a.db"}),
        ("fetch", {"url": "https://docs.example.com\\@evil.example/"}),
        ("fetch", {"url": "https:///"}),
        ("fetch", {"urls": ["https://a.example/", "b.example"]}),
        ("fetch", {"urls": ["https://a.example/", "intranet"]}),
        ("fetch", {"url": "https://a.example, https://b.example"}),
        ("fetch", {"url": "https://a.example https://b.example"}),
        ("fetch", {"url": "https://a.example", "next": "https:b.example"}),
        ("fetch", {"url": "https://a.example", "next": "see https://b.example"}),
        ("fetch", {"url": "https://a.example", "next": "10.0.0.1"}),
        ("fetch", {"url": "https://a.example", "next": "::1"}),
        ("fetch", {"url": "https://a.example", "next": "fe80:0:0:0:0:0:0:1"}),
        ("fetch", {"url": "https://a.example", "next": "localhost"}),
        ("fetch", {"url": "https://a.example", "next": "printer:631"}),
        ("fetch", {"url": "https://a.example", "cc": "you@b.example"}),
        ("fetch", {"url": "https://a.example", "ip": Number("2130706433")}),
        ("fetch", {"url": "https://a.example", "next": {"b.example": 1}}),
        ("fetch", {"url": "https://a.example", "body_of": "see https://b.example " * 100}),
        ("read_file", {"path": "/srv/{a,..}/b"}),
        ("read_file", {"path": "/srv/\uff0e\uff0e/b"}),
        ("read_file", {"path": "/srv/a,/etc/hosts"}),
        ("read_file", {"path": "/srv/a /etc/hosts"}),
        ("read_file", {"path": "/srv/a:/etc/hosts"}),
        ("read_file", {"path": "/srv/a;C:\\keys"}),
        ("read_file", {"path": '["/srv/a", "b"]'}),
        ("read_file", {"path": "//srv/a"}),
        ("read_file", {"path": "\\\\srv\\a"}),
        ("read_file", {"path": "file://other/srv/a"}),
        ("read_file", {"path": "file:///" + "a" * MOST_CHARS}),
        ("search_files", {"path": "/srv", "pattern": "/etc/*"}),
        ("search_files", {"path": "/srv", "pattern": "../etc/*"}),
        ("search_files", {"path": "/srv", "pattern": "a/../../etc/*"}),
        ("get", {"path": "/srv/a", "also": "b.md"}),
        ("get", {"path": "/srv/a", "also": "/" * 2_000_000 + " "}),  # a square would be hours
    ],
)
def test_what_is_not_certain_names_nothing(tool: str, arguments: JsonValue) -> None:
    assert named(tool, arguments) == UNNAMED


def test_a_resource_is_named_by_its_address() -> None:
    params: JsonObject = {"uri": "file:///srv/a.md"}
    assert NamedCall("resources/read", None, params, 10).names.paths == ("/srv/a.md",)
    assert NamedCall("prompts/get", None, params, 10).names == UNNAMED
    assert NamedCall("resources/read", None, [], 10).names == UNNAMED


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("execute_command", {"command": "curl -s https://a.example/x"}, True),
        ("execute_command", {"command": "cd x && gh issue view 7"}, True),
        ("execute_command", {"command": "git clone https://a.example/x"}, True),
        ("execute_command", {"command": "cat tests/test_guard.py"}, False),
        ("execute_command", {"command": "curl http://localhost:3000/x"}, True),
        ("read_file", {"path": "https://a.example/x"}, True),
        ("read_file", {"path": "tests/test_guard.py"}, False),
        ("read_file", {"path": "http://127.0.0.1:3000/x"}, False),
        ("run_code", {"code": "get('https://a.example/x')"}, True),
        ("write_file", {"content": "see https://a.example/x"}, False),
        ("read_file", {"rows": ["a"] * MOST_STRINGS}, False),
        ("read_file", {"rows": ["a"] * (MOST_STRINGS + 1)}, True),
    ],
)
def test_a_call_may_ask_another_machine(
    tool: str, arguments: JsonObject, *, expected: bool
) -> None:
    params: JsonObject = {"name": tool, "arguments": arguments}
    call = NamedCall("tools/call", tool, params, 10)
    assert call.fetches is expected
    call.forget()
    assert not call.fetches


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
    call = NamedCall("tools/call", tool, {"name": tool, "arguments": arguments}, 10)
    assert call.file_kind is kind
    call.forget()
    assert call.file_kind is FileKind.OTHER
    assert (
        NamedCall("resources/read", None, {"uri": "tests/a.json"}, 10).file_kind is FileKind.OTHER
    )


@pytest.mark.parametrize("frame_bytes", [10, 10 * KEPT_BYTES])
def test_a_call_is_read_when_it_is_asked_for_or_at_once_if_it_is_long(frame_bytes: int) -> None:
    params: JsonObject = {"name": "read_file", "arguments": {"path": "a.md"}}
    call = NamedCall("tools/call", "read_file", params, frame_bytes)
    params.clear()
    is_kept = frame_bytes <= KEPT_BYTES
    assert call.names.paths == (() if is_kept else ("a.md",))
    assert call.names.paths == (() if is_kept else ("a.md",)), "and once"
    assert call.size_bytes == (100 if is_kept else 4)
    call.forget()
    assert call.names == UNNAMED


# --- files that a command prints ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("head -4 a.txt", ("a.txt",)),
        ("jq -r '.[].text' evals/a.json", ("evals/a.json",)),
        ("cd tests && cat a.txt b.txt | sort", ("tests/a.txt", "tests/b.txt")),
        ("rg -n 'x y' tests/", ("tests",)),
        ("cat 'a b.txt'", ("a b.txt",)),
        ("cat a.txt | sh", ()),
        ("cat a.txt > b.txt", ()),
        ("cat $(curl x.example) a.txt", ()),
        ("ls tests", ()),
        ("ssh x.example cat a.txt", ()),
        ("cat a.txt; echo hi", ()),
        ("", ()),
    ],
)
def test_files_are_told_of_commands_that_only_print(command: str, files: tuple[str, ...]) -> None:
    assert printed_files(command) == files
