"""Checks the size limits, that caught exceptions are named, and that each `noqa` has a reason."""

import ast
import re
import subprocess
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.needs("git")  # lists the files
TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]
BARS = PROJECT["mcp-pipeguard"]["bars"]
# The most code lines of Python (no comments, docstrings or blank lines) of each room, which may be
# several packages. Nobody raises one: a commit that needs room deletes something in the same room.
CAPS = {
    (".", "terminal", "unicode"): 900,
    ("firewall",): 5_125,
    ("detect",): 14_980,
    ("rulebook",): 1_200,
    ("identity",): 600,
    ("config", "state", "auth"): 7_400,
    ("transports",): 5_600,
    ("launch", "isolation"): 8_700,
    ("runtime",): 2_000,
    ("gateway",): 7_200,
    ("clients", "assess", "doctor", "demo"): 6_830,
    ("ui",): 3_200,
    ("cli",): 5_400,
    ("tests",): 70_000,
}
PYTHON_CAP = 68_640  # of all rooms but the tests
C_CAP = 4_626
# Of every language: Python once, C twice, templates, style sheets and our own JavaScript once.
WHOLE_CAP = 79_290
FOREIGN = {"pipeguard/ui/static/idiomorph.js"}
COMMENTS = {
    ".c": re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL),
    ".h": re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL),
    ".css": re.compile(r"/\*.*?\*/", re.DOTALL),
    ".html": re.compile(r"\{#.*?#\}|<!--.*?-->", re.DOTALL),
    ".js": re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE),
}
RUFF = PROJECT["ruff"]["lint"]
# What ruff measures: branches, arguments, statements and returns, nesting.
SIZES = ("C901", "PLR0911", "PLR0912", "PLR0913", "PLR0915", "PLR0917", "PLR1702")
CODE = ("pipeguard", "benchmarks", "training")
BROAD = {"Exception", "BaseException"}
# Each function that catches whatever it is and goes on, with the reason.
CATCHES_ALL = {
    "pipeguard/__main__.py _run": "the process ends here, and says what failed",
    "pipeguard/detect/detector.py show": "a person sees less, and the message is judged as ever",
    "pipeguard/firewall/session/session.py _judge_or_refuse": "a check that breaks must refuse",
    "pipeguard/state/recorder.py _describe_failure": "a thread that writes has no caller to tell",
}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
REASON = re.compile(r"#\s*(ruff: )?noqa: ?[A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*(  \S)?")


@cache
def sources(*patterns: str) -> dict[str, str]:
    """Every file of these kinds that is committed, or would be, with its text."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    names = sorted({name for name in listed.stdout.decode().split("\0") if name})
    return {name: (TOP / name).read_text("utf-8") for name in names if (TOP / name).is_file()}


class _Report(NamedTuple):
    """A file's size, and the places in it that a bar concerns."""

    code_lines: int
    too_long: list[str]
    catching_all: list[str]
    blocking_threads: list[int]


@cache
def reports() -> dict[str, _Report]:
    return {name: examine(name, text) for name, text in sources("*.py").items()}


@lru_cache(maxsize=1)
def nodes_of(text: str) -> list[ast.AST]:
    """All nodes of the tree that a file's text makes."""
    return [*ast.walk(ast.parse(text))]


def examine(name: str, text: str) -> _Report:
    is_test = name.startswith("tests/")
    nodes = nodes_of(text)
    lines = len(text.splitlines())
    most = BARS["test-file-lines" if is_test else "file-lines"]
    too_long = [f"{lines} lines, of {most}"] * (lines > most)
    catching: list[str] = []
    for node in nodes if not is_test else ():  # a table of cases is long
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (length := lines_of(node)) > (most := BARS["function-lines"]):
                too_long.append(f"{node.name}: {length} lines, of {most}")
            if has_many_positional(node.args):
                too_long.append(f"{node.name}: more than 3 of over 5 arguments are positional")
            catching += [node.name] * sum(map(catches_all, ast.walk(node)))
    threads = [
        node.lineno
        for node in nodes
        if is_test and isinstance(node, ast.Call)
        if ast.unparse(node.func) in {"Thread", "threading.Thread"}
        if not any(keyword.arg == "daemon" for keyword in node.keywords)
    ]
    return _Report(code_lines(text), too_long, catching, threads)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines without its docstring."""
    return len(
        {*range(function.lineno, (function.end_lineno or 0) + 1)} - docstring_lines(function)
    )


def has_many_positional(arguments: ast.arguments) -> bool:
    """True if a function has more than five arguments, and more than three are positional."""
    positional = [*arguments.posonlyargs, *arguments.args]
    own = positional[bool(positional) and positional[0].arg in {"self", "cls"} :]
    return len(own) > 3 and len(own) + len(arguments.kwonlyargs) > 5


def docstring_lines(node: ast.AST) -> set[int]:
    if not isinstance(node, DOCUMENTED) or ast.get_docstring(node) is None:
        return set()
    return {*range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)}


def catches_all(node: ast.AST) -> bool:
    """True if a handler catches every exception and does not raise it again."""
    if not isinstance(node, ast.ExceptHandler) or isinstance(node.body[-1], ast.Raise):
        return False
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(one is None or ast.unparse(one) in BROAD for one in caught)


def test_files_and_functions_are_short() -> None:
    assert {name: one.too_long for name, one in reports().items() if one.too_long} == {}


def room_of(name: str) -> str | None:
    """Return the room of a file: a package of pipeguard, `.` for its top level, or `tests`."""
    top, *rest = name.split("/")
    if top == "pipeguard":
        return rest[0] if len(rest) > 1 else "."
    return top if top == "tests" else None


def code_lines(text: str) -> int:
    """Count the lines with code: without comments, docstrings and blank lines."""
    code = {
        number
        for number, line in enumerate(text.splitlines(), 1)
        if (stripped := line.strip()) and not stripped.startswith("#")
    }
    return len(code.difference(*map(docstring_lines, nodes_of(text))))


def foreign_lines(suffix: str) -> int:
    """Count the code lines of all files of a language other than Python."""
    return sum(
        len([line for line in COMMENTS[suffix].sub("", text).splitlines() if line.strip()])
        for name, text in sources(f"pipeguard/*{suffix}").items()
        if name not in FOREIGN
    )


def lines_by_package() -> Counter[str]:
    lines = Counter[str]()
    for name, one in reports().items():
        if (room := room_of(name)) is not None:
            lines[room] += one.code_lines
    return lines


def test_no_room_exceeds_its_cap() -> None:
    """A commit that would exceed a cap deletes something in the same room first."""
    lines = lines_by_package()
    assert {*lines} == {package for room in CAPS for package in room}, "each package has a room"
    sums = {room: sum(map(lines.__getitem__, room)) for room in CAPS}
    assert {room: count for room, count in sums.items() if count > CAPS[room]} == {}


def test_the_whole_does_not_exceed_its_cap() -> None:
    lines = lines_by_package()
    python = lines.total() - lines["tests"]
    in_c = foreign_lines(".c") + foreign_lines(".h")
    pages = sum(map(foreign_lines, (".html", ".css", ".js")))
    assert python <= PYTHON_CAP
    assert in_c <= C_CAP
    assert python + 2 * in_c + pages <= WHOLE_CAP


def test_no_file_is_excused_from_a_bar_by_its_name() -> None:
    """A `noqa` with its reason, next to the line, is how one is excused."""
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
        f"branches, {pylint['max-nested-blocks']} levels of nesting and {pylint['max-args']} "
        "arguments: of more than five, three are positional."
    ) in text


def test_only_the_end_of_a_process_or_thread_or_the_session_catches_everything() -> None:
    catching = [f"{name} {where}" for name, one in reports().items() for where in one.catching_all]
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
    bare = {
        name: [*without_reason(text)] for name, text in sources("*.py").items() if "noqa" in text
    }
    assert {name: lines for name, lines in bare.items() if lines} == {}


def test_a_noqa_without_its_reason_is_seen() -> None:
    bare = ["a = 1  # noqa: E741\n", "a = 1  # noqa\n", "# ruff: noqa: E741\n\n# late\n"]
    assert [text for text in bare if not [*without_reason(text)]] == []
    explained = ["a = 1  # noqa: E741, S101  why\n", "# why\n# ruff: noqa: E741\n", "a = 'noqa'\n"]
    assert [text for text in explained if [*without_reason(text)]] == []


def test_no_thread_of_a_test_keeps_its_process_alive() -> None:
    """A test that hangs fails by its time limit; its threads must then not block the exit."""
    blocking = {name: one.blocking_threads for name, one in reports().items()}
    assert {name: lines for name, lines in blocking.items() if lines} == {}
