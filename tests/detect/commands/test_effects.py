"""Arguments as what they would do, by the names of the tool and of each argument."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.commands.effects import find_effects
from pipeguard.detect.commands.interpret import code_lines, command_lines
from pipeguard.detect.commands.path_normalisation import path_lines
from pipeguard.detect.commands.posix_shell import Shell
from pipeguard.detect.commands.powershell import windows_lines
from pipeguard.detect.commands.sql import statements
from pipeguard.detect.text.document import MessageText
from tests.fuzz.budget import tried

SLOW_SECONDS = 20.0  # for the largest argument, on a machine that does other things too
SIGNS = [
    "$",
    "'",
    '"',
    "`",
    "\\",
    "|",
    "&",
    ";",
    "(",
    ")",
    "{",
    "}",
    "<",
    ">",
    "#",
    "*",
    "?",
    "[",
    "]",
    "=",
    "~",
    "!",
    "^",
    ",",
    "\n",
    "rm",
    "cat",
    "-rf",
    "/",
    "a",
    "b",
    "1",
    "<<",
    "EOF",
    "$(",
    "${",
    "IFS",
]


def test_words_of_a_list_are_one_command() -> None:
    value = MessageText({"command": "rm", "args": ["-rf", "/"]}, keyed=True)
    assert b"\n$ rm -r /\n" in find_effects(Uses(value, "exec"))[0][0].data


@pytest.mark.parametrize(
    ("tool", "key", "words", "line"),
    [
        ("docker_run", "args", ["-v", "/:/host", "alpine"], "$ docker run -v /:/host alpine"),
        ("curl", "args", ["-o", "/root/.ssh/authorized_keys"], "> /root/.ssh/authorized_keys"),
        ("docker_run", "value", ["-v", "/:/host"], "ARG ? -v /:/host "),
        ("docker_run", "value", ["-v", "/:/host"], "$ docker run -v /:/host"),
    ],
)
def test_a_list_is_of_the_command_that_its_tool_is_named_after(
    tool: str, key: str, words: list[str], line: str
) -> None:
    value = MessageText({"name": tool, "arguments": {key: [*words]}}, keyed=True)
    lines = b"".join(effect.data for effect in find_effects(Uses(value, tool))[0])
    assert f"\n{line}\n".encode() in lines


@tried(200)
@given(st.lists(st.sampled_from(SIGNS), max_size=60).map("".join))
def test_nothing_is_raised_whatever_the_signs(text: str) -> None:
    Shell(lambda _: None).pipelines(text)
    command_lines(text)
    code_lines(text)
    statements(text)
    path_lines(text, text, writes=True)
    windows_lines(text)


@tried(100)
@given(st.text(max_size=200), st.sampled_from(["command", "sql", "code", "path", "text"]))
def test_nothing_is_raised_whatever_the_text(text: str, key: str) -> None:
    encoded = text.encode("utf-8", "replace").decode()
    find_effects(Uses(MessageText({key: encoded, "args": [encoded, encoded]}, keyed=True), "run"))


PIECES = (
    *(
        "$(",
        "${",
        "'",
        '"',
        "`",
        "<<E\n",
        "{a,",
        "$a",
        "a=b;",
        "|",
        "\\",
        "<(",
        "$'",
        "x^y",
        "a/../",
    ),
    *(
        "'a'+'b'",
        "[char]1+",
        "rm -rf / ;",
        "cat a|",
        "-exec ",
        "$(cat a)",
        "b\\x",
        "%a%",
        "/*",
        "('",
    ),
)


@pytest.mark.parametrize("piece", PIECES)
def test_the_largest_argument_is_read_in_time(piece: str) -> None:
    text = piece * (65_536 // len(piece))
    began = time.perf_counter()
    for key in ("command", "sql", "code", "path"):
        find_effects(Uses(MessageText({key: text}, keyed=True), "run"))
    assert time.perf_counter() - began < SLOW_SECONDS
