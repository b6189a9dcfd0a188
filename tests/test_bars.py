"""Holds the bars of size, that what is caught is named, and that each `noqa` has its reason."""

import ast
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from operator import gt
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("git")  # lists the files
TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]
BARS = PROJECT["mcp-pipeguard"]["bars"]
ROOMS = PROJECT["mcp-pipeguard"]["rooms"]
RUFF = PROJECT["ruff"]["lint"]
# What ruff measures: branches, arguments, statements and returns, nesting.
SIZES = ("C901", "PLR0911", "PLR0912", "PLR0913", "PLR0915", "PLR0917", "PLR1702")
CODE = ("pipeguard", "benchmarks", "training")
BROAD = {"Exception", "BaseException"}
# Each function that catches whatever it is and goes on, with the reason.
CATCHES_ALL = {
    "pipeguard/__main__.py _run": "the process ends here, and says what failed",
    "pipeguard/firewall/session/session.py _judge_or_refuse": "a check that breaks must refuse",
    "pipeguard/state/recorder.py _failure_of": "the thread that writes has no caller to raise to",
}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
REASON = re.compile(r"#\s*(ruff: )?noqa: ?[A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*(  \S)?")


@cache
def sources() -> dict[str, str]:
    """Every Python file that is committed, or would be, with its text."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.py"],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    names = sorted({name for name in listed.stdout.decode().split("\0") if name})
    return {name: (TOP / name).read_text("utf-8") for name in names if (TOP / name).is_file()}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    last = function.end_lineno or function.lineno
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    docstring_lines = (
        (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1 if docstring else 0
    )
    return last - function.lineno + 1 - docstring_lines


def too_long() -> dict[str, list[str]]:
    """What is longer than its bar, by file."""
    long = {}
    for name, text in sources().items():
        is_test = name.startswith("tests/")
        lines = len(text.splitlines())
        over = [f"{lines} lines"] * (lines > BARS["test-file-lines" if is_test else "file-lines"])
        if not is_test:  # a table of cases is long
            over += [
                f"{function.name}: {lines_of(function)} lines"
                for function in functions(ast.parse(text))
                if lines_of(function) > BARS["function-lines"]
            ]
        if over:
            long[name] = over
    return long


def test_files_and_functions_are_short() -> None:
    assert too_long() == {}


def room_of(name: str) -> str | None:
    """The room of a file: a package of pipeguard, `.` for its top level, or `tests`."""
    top, *rest = name.split("/")
    if top == "pipeguard":
        return rest[0] if len(rest) > 1 else "."
    return top if top == "tests" else None


def code_lines(text: str) -> int:
    """Lines with code: without comments, docstrings and blank lines."""
    code = {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if (stripped := line.strip()) and not stripped.startswith("#")
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            code -= {*range(docstring.lineno, (docstring.end_lineno or 0) + 1)}
    return len(code)


def public_classes(text: str) -> int:
    return sum(
        isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for node in ast.walk(ast.parse(text))
    )


def test_no_room_exceeds_its_budget() -> None:
    """A budget may exceed what its room holds by little, so that it goes down with the code."""
    sizes = {room: [0, 0, 0] for room in ROOMS}
    for name, text in sources().items():
        if (room := room_of(name)) is not None:
            size = sizes[room]
            size[:] = size[0] + code_lines(text), size[1] + 1, size[2] + public_classes(text)
    over = {room: size for room, size in sizes.items() if any(map(gt, size, ROOMS[room]))}
    slack = {
        room: size
        for room, size in sizes.items()
        if size[0] + max(50, size[0] // 50) < ROOMS[room][0]
    }
    assert (over, slack) == ({}, {})


def test_no_file_is_excused_from_a_bar_by_its_name() -> None:
    """A `noqa` with its reason, beside the line, is how one is excused."""
    excused = {
        name: sizes
        for name, codes in RUFF["per-file-ignores"].items()
        if (sizes := sorted(set(codes) & set(SIZES))) and not name.startswith("tests/")
    }
    assert excused == {}


def test_the_bars_are_what_contributors_are_told() -> None:
    text = " ".join((TOP / "CONTRIBUTING.md").read_text("utf-8").split())
    pylint = RUFF["pylint"]
    assert RUFF["mccabe"]["max-complexity"] == pylint["max-branches"]
    assert (
        f"A file has at most {BARS['file-lines']} lines (of tests {BARS['test-file-lines']}), a "
        f"function {BARS['function-lines']} without its docstring, {pylint['max-branches']} "
        f"branches, {pylint['max-args']} arguments and {pylint['max-nested-blocks']} levels of "
        "nesting."
    ) in text


def catching_all(tree: ast.AST) -> Iterator[str]:
    """The functions that catch every exception and do not raise it again."""
    for function in functions(tree):
        for node in ast.walk(function):
            if not isinstance(node, ast.ExceptHandler) or isinstance(node.body[-1], ast.Raise):
                continue
            if is_broad(node.type):
                yield function.name


def is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(is_broad, caught.elts))
    return caught is None or ast.unparse(caught) in BROAD


def test_only_the_end_of_a_process_or_thread_or_the_session_catches_everything() -> None:
    catching = [
        f"{name} {function}"
        for name, text in sources().items()
        if not name.startswith("tests/")
        for function in catching_all(ast.parse(text))
    ]
    assert sorted(catching) == sorted(CATCHES_ALL)


def without_reason(text: str) -> Iterator[int]:
    """Lines with a `noqa` and no reason: behind it, or for a whole file in the line next to it."""
    comments = {
        token.start[0]: token
        for token in tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__)
        if token.type == tokenize.COMMENT
    }
    for line, token in comments.items():
        if "noqa" not in token.string:
            continue
        match = REASON.match(token.string)
        neighbours = [comments.get(line - 1), comments.get(line + 1)]
        beside = any(other and other.line.startswith("# ") for other in neighbours)
        if match is None or not (match[3] or (match[1] and beside)):
            yield line


def test_each_noqa_has_its_reason() -> None:
    bare = {name: [*without_reason(text)] for name, text in sources().items()}
    assert {name: lines for name, lines in bare.items() if lines} == {}


def test_a_noqa_without_its_reason_is_seen() -> None:
    bare = ["a = 1  # noqa: E741\n", "a = 1  # noqa\n", "# ruff: noqa: E741\n\n# late\n"]
    assert [text for text in bare if not [*without_reason(text)]] == []
    explained = ["a = 1  # noqa: E741, S101  why\n", "# why\n# ruff: noqa: E741\n", "a = 'noqa'\n"]
    assert [text for text in explained if [*without_reason(text)]] == []


def test_no_thread_of_a_test_keeps_its_process_alive() -> None:
    """A test that hangs fails by its time limit; its threads must then not block the exit."""
    blocking = [
        f"{name}:{call.lineno}"
        for name, text in sources().items()
        if name.startswith("tests/")
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in {"Thread", "threading.Thread"}
        and not any(keyword.arg == "daemon" for keyword in call.keywords)
    ]
    assert blocking == []
