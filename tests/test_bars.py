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
# The most tokens of Python of each room, which may be several packages: those of `tokenize` without
# comments, docstrings, layout and commas, and nine for each line of a text file that is a regular
# expression. Nobody raises one: a commit that needs room deletes something in the same room.
CAPS = {
    (".", "terminal", "unicode"): 6_727,
    ("firewall",): 47_164,
    ("detect",): 150_922,
    ("rulebook",): 10_592,
    ("identity",): 7_299,
    ("config", "state", "auth"): 89_850,
    ("transports",): 49_927,
    ("launch", "isolation"): 70_537,
    ("replay",): 2_634,
    ("runtime",): 18_044,
    ("gateway",): 64_270,
    ("clients", "assess", "doctor", "demo"): 57_239,
    ("ui",): 28_559,
    ("cli",): 39_478,
}
TOKENS_CAP = 643_242  # of all rooms
# Of code lines: without comments, docstrings and blank lines.
TESTS_CAP = 75_755
C_CAP = 4_700
COMMENT_IN_C = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
LAYOUT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}
EXPRESSION = re.compile(r"[][\\()|?*+^$]")
TOKENS_OF_EXPRESSION = 9
RUFF = PROJECT["ruff"]["lint"]
# What ruff measures: branches, arguments, statements and returns, nesting.
SIZES = ("C901", "PLR0911", "PLR0912", "PLR0913", "PLR0915", "PLR0917", "PLR1702")
CODE = ("pipeguard", "benchmarks", "training")
BROAD = {"Exception", "BaseException"}
# Each function that catches whatever it is and goes on, with the reason.
CATCHES_ALL = {
    "pipeguard/__main__.py _run": "the process ends here, and says what failed",
    "pipeguard/detect/detector.py show": "a person sees less, and the message is judged as ever",
    "pipeguard/firewall/session/session.py judge_case": "a check that breaks must refuse",
    "pipeguard/firewall/session/session.py take": "if a part breaks, nothing passes",
    "pipeguard/state/postgres/link.py _attempt": "one job fails, and the others are done",
    "pipeguard/state/postgres/link.py _run": "a thread that others wait for goes on",
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
    tokens: int
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
    return _Report(code_lines(text), count_tokens(text), too_long, catching, threads)


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


def count_tokens(text: str) -> int:
    """Count the tokens of Python: without comments, docstrings, layout and commas."""
    docstrings = set[int]().union(*map(docstring_lines, nodes_of(text)))
    return sum(
        token.type not in LAYOUT
        and token.string != ","
        and not (token.type == tokenize.STRING and token.start[0] in docstrings)
        for token in tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__)
    )


def count_expressions(text: str) -> int:
    """Count the lines of a text file that are regular expressions."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return sum(EXPRESSION.search(line) is not None for line in lines)


def tokens_by_package() -> Counter[str]:
    tokens = Counter[str]()
    for name, one in reports().items():
        if (room := room_of(name)) not in {None, "tests"}:
            tokens[str(room)] += one.tokens
    for name, text in sources("pipeguard/*.txt").items():
        tokens[room_of(name) or "."] += TOKENS_OF_EXPRESSION * count_expressions(text)
    return tokens


def test_no_room_exceeds_its_cap() -> None:
    """A commit that would exceed a cap deletes something in the same room first."""
    tokens = tokens_by_package()
    assert {*tokens} == {package for room in CAPS for package in room}, "each package has a room"
    sums = {room: sum(map(tokens.__getitem__, room)) for room in CAPS}
    assert {room: count for room, count in sums.items() if count > CAPS[room]} == {}
    assert tokens.total() <= TOKENS_CAP


def test_tests_and_c_do_not_exceed_their_caps() -> None:
    assert sum(one.code_lines for name, one in reports().items() if room_of(name) == "tests") <= (
        TESTS_CAP
    )
    in_c = "\n".join(sources("pipeguard/*.c", "pipeguard/*.h").values())
    lines = COMMENT_IN_C.sub("", in_c).splitlines()
    assert len([line for line in lines if line.strip()]) <= C_CAP


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
