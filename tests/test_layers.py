"""Checks the layers: permitted imports, the core's modules, and those of an ordinary session."""

import ast
import os
import re
import sys
from collections import deque
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from pipeguard.demo.client import converse
from pipeguard.demo.play import SERVER, Stage
from pipeguard.rulebook.cache import load_engines
from tests.commands import run_command
from tests.each import each

PACKAGE = Path(__file__).resolve().parent.parent / "pipeguard"

# A module imports from its own package and from those above it, and never in a circle; types count
# for both. The longest name that fits a module is its package; a door stands below its room.
LAYERS = (
    "records",
    "native",
    "errors",
    "version",
    "allocator",
    "installation",
    "_isolate",
    "firewall",
    "unicode",
    "firewall.protocol",
    "firewall.policy",
    "firewall.pins",
    "firewall.session",
    "detect",
    "detect.words",
    "detect.text",
    "detect.checks",
    "detect.matching",
    "detect.rules",
    "detect.model",
    "detect.commands",
    "detect.scanning",
    "detect.flows",
    "detect.clean_texts",
    "detect.knowledge",
    "detect.counting",
    "detect.content_marks",
    "detect.cuts",
    "detect.restoring",
    "detect.hidden_secrets",
    "detect.shown_call",
    "detect.matched",
    "detect.findings",
    "detect.pages",
    "detect.contents",
    "detect.plain",
    "detect.detector",
    "secrets_in_use",
    "terminal",
    "log",
    "transports",
    "transports.http",
    "transports.http.client",
    "transports.http.server",
    "transports.http.bindings",
    "identity",
    "config",
    "rulebook",
    "launch",
    "state",
    "state.record",
    "auth",
    "replay",
    "isolation.egress",
    "isolation",
    "isolation.learning",
    "isolation.walls",
    "isolation.servers",
    "isolation.__init__",
    "runtime",
    "clients",
    "gateway",
    "assess",
    "demo",
    "doctor",
    "ui",
    "cli",
    "__main__",
    "__init__",
)
RANK = {name: rank for rank, name in enumerate(LAYERS)}
DOORS = ("isolation",)  # rooms of which others import the package's own names, and no module

# What can neither wait, nor look at a clock, a file or a die.
PURE = {
    *("__future__", "typing", "types", "dataclasses", "enum", "abc", "functools", "itertools"),
    *("collections", "collections.abc", "operator", "array", "bisect", "heapq", "string", "re"),
    *("fnmatch", "json", "json.encoder", "json.scanner", "math", "decimal", "unicodedata"),
    *("textwrap", "contextlib", "copy", "base64", "binascii", "hashlib", "hmac", "struct", "zlib"),
    *("difflib", "ipaddress", "hyperscan", "rfc8785"),
    "yaml",  # reads a pack's text, which is handed in
}
EXCEPTIONS = {  # module of the core, what else it imports: with the reason
    ("rulebook.samples", "random"): "Random(seed): the samples of rules, the same on every run",
    ("detect.model.network_sums", "numpy"): "sums over rows of numbers, where no C compiler was",
    ("detect.model.opener_sums", "numpy"): "the same",
    ("detect.model.network_weights", "array"): "numbers of four bytes",
    ("detect.matching.confirm", "re2"): "regular expressions in linear time",
    ("detect.matching.pattern_set", "threading"): "Lock: threads share databases, loaded once",
    ("firewall.session.lifecycle", "threading"): "Lock: the pump's threads share a conversation",
    ("firewall.protocol.answers", "threading"): "Lock: they share what results asked",
    ("firewall.pins.store", "threading"): "Lock: the recorder replaces what is trusted",
    ("firewall.budgets", "sys"): "getsizeof: how much memory a text takes",
    ("detect.detector", "threading"): "Lock: the rules of a server are loaded once",
    ("detect.knowledge", "threading"): "Lock: threads share what is known of tools",
    ("detect.flows.vault", "threading"): "Lock: one takes secrets out, the other puts them back",
    ("detect.flows.passages", "threading"): "Lock: one cuts passages out, the other puts them back",
    ("detect.flows.ledger", "threading"): "Lock: they share what came back, too",
    ("detect.flows.ledger_memory", "threading"): "Lock: all clients share what may be remembered",
    ("detect.flows.ledger_memory", "weakref"): "ref: a client that is gone takes nothing any more",
    ("detect.pages", "html"): "unescape, for the values of attributes",
    ("detect.pages", "selectolax.lexbor"): "the parser of a page's HTML",
    ("detect.commands.notations", "csv"): "the rows of a table in a text",
    ("detect.commands.notations", "html"): "unescape, for the values of XML",
    ("detect.text.escapes", "html"): "unescape, with HTML's table of names",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}

# Nothing of the kind is on the path of stdio to stdio: start-up and memory are felt there.
NOT_IN_A_SESSION = re.compile(
    r"(asyncio|anyio|trio|http|httpx|httpcore|requests|aiohttp|urllib3|urllib\.request|ssl|"
    r"starlette|structlog|uvicorn|websockets|yaml|pydantic|mcp|selectolax)(\.|$)"
)

SQL = re.compile(
    r"\b(SELECT|INSERT INTO|DELETE FROM|UPDATE \w+ SET|WHERE|(ORDER|GROUP) BY|PRAGMA|coalesce\()"
)

FILES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
PURE_ROOMS = ("unicode", "firewall", "detect")
CORE = [name for name in FILES if name.split(".")[0] in PURE_ROOMS]


@cache
def nodes_of(name: str) -> list[ast.AST]:
    """All nodes of a module's tree."""
    return [*ast.walk(ast.parse(FILES[name].read_text("utf-8")))]


@cache
def imports(name: str) -> set[str]:
    """Every module that is imported anywhere in a module, by its whole name."""
    found = set()
    for node in nodes_of(name):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = {name for name in submodules if name.removeprefix("pipeguard.") in FILES}
            found |= inside or {node.module}
    return found


def own_imports(name: str) -> set[str]:
    found = {item for item in imports(name) if item.split(".")[0] == "pipeguard"}
    return {item.removeprefix("pipeguard").removeprefix(".") or "__init__" for item in found}


def circles(graph: Mapping[str, set[str]]) -> set[str]:
    """The shortest circle through each import that is part of one, from its first name on."""
    found = set()
    for name, imported in graph.items():
        for first in imported:
            if circle := shortest_path(graph, first, name):
                start = circle.index(min(circle))
                turned = [*circle[start:], *circle[:start]]
                found.add(" -> ".join([*turned, turned[0]]))
    return found


def shortest_path(graph: Mapping[str, set[str]], start: str, end: str) -> list[str]:
    """Return the names on the shortest path between two modules, if there is one."""
    paths, seen = deque([[start]]), {start}
    while paths:
        path = paths.popleft()
        if path[-1] == end:
            return path
        for name in sorted(graph[path[-1]] - seen):
            seen.add(name)
            paths.append([*path, name])
    return []


@cache
def rank_of(name: str) -> int:
    """Return the depth of a module's package."""
    name = f"{name}.__init__" if name in DOORS else name
    while name not in RANK:
        name = name.rpartition(".")[0]
        assert name, "a module outside of all packages"
    return RANK[name]


def test_every_package_and_module_has_a_layer() -> None:
    assert [name for name in FILES if name.split(".")[0] not in RANK] == []
    packages = {
        name.rpartition(".")[0]
        for name in FILES
        if name.split(".")[0] in PURE_ROOMS and "." in name
    }
    assert packages - RANK.keys() == set()


@each("name", list(FILES))
def test_a_module_imports_nothing_that_stands_below_it(name: str) -> None:
    rank = rank_of(name)
    assert [item for item in own_imports(name) if rank_of(item) > rank] == []


@each("room", list(DOORS))
def test_other_rooms_come_in_by_the_door(room: str) -> None:
    outside = [name for name in FILES if name.split(".")[0] != room]
    past_it = {
        name for name in outside for item in own_imports(name) if item.startswith(f"{room}.")
    }
    assert past_it == set()
    names = {
        alias.name
        for name in outside
        for node in nodes_of(name)
        if isinstance(node, ast.ImportFrom) and node.module == f"pipeguard.{room}"
        for alias in node.names
    }
    door = import_module(f"pipeguard.{room}")
    assert names == {*door.__all__}
    given = {name: getattr(door, name) for name in names}
    assert [name for name, each in given.items() if getattr(each, "__name__", name) != name] == []


def test_no_import_goes_in_a_circle() -> None:
    graph = {name: own_imports(name) & FILES.keys() for name in FILES}
    assert circles(graph) == set()


def test_each_circle_is_named_once_and_in_full() -> None:
    graph = {"a": {"b", "c"}, "b": {"a"}, "c": {"d"}, "d": {"e"}, "e": {"c", "f"}, "f": set()}
    assert circles(graph) == {"a -> b -> a", "c -> d -> e -> c"}
    assert circles({"a": {"a"}, "b": {"a"}}) == {"a -> a"}


@each("name", CORE)
def test_the_core_imports_nothing_that_waits(name: str) -> None:
    foreign = {item for item in imports(name) if item.split(".")[0] != "pipeguard"}
    allowed = PURE | {item for module, item in EXCEPTIONS if module == name}
    assert foreign - allowed == set()


@each("name", CORE)
def test_the_core_calls_nothing_that_waits_and_is_not_async(name: str) -> None:
    waiting = [
        ast.unparse(node)
        for node in nodes_of(name)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in IMPURE_CALLS)
    ]
    assert waiting == []


def test_only_the_store_speaks_sql() -> None:
    importing = {name for name in FILES if "sqlite3" in imports(name)}
    # A login's lock is a lock alone: SQLite's is portable, and ends with its process.
    assert {name for name in importing if not name.startswith("state.")} == {"auth.store"}
    executing = {
        name
        for name in FILES
        for node in nodes_of(name)
        if isinstance(node, ast.Attribute) and node.attr == "connection"
        if not name.startswith("state.") and ast.unparse(node.value) != "self"
    }
    assert executing == set()
    speaking = {
        name
        for name in FILES
        for node in nodes_of(name)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    }
    assert {name for name in speaking if not name.startswith("state.")} == set()


def test_no_exception_outlives_its_reason() -> None:
    assert [(name, item) for name, item in EXCEPTIONS if item not in imports(name)] == []


def test_the_public_names_are_imported_by_nobody_inside() -> None:
    assert [name for name in FILES if "__init__" in own_imports(name)] == []


def test_a_daily_session_loads_neither_an_event_loop_nor_http_nor_the_log(tmp_path: Path) -> None:
    load_engines()  # compiles the rules where they are not yet, which is not every day's business
    record = tmp_path / "record.jsonl"
    record.touch()
    log = tmp_path / "stderr"
    wrap = [sys.executable, "-E", "-P", "-X", "importtime", "-m", "pipeguard", "wrap", "--"]
    # Coverage measures by importing itself into the process, and with it half the library.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    environment["PIPEGUARD_STATE_DIR"] = str(tmp_path / "state")
    command = [*wrap, sys.executable, "-I", str(SERVER), str(record)]
    with converse(command, tmp_path, environment, log) as client:
        act = Stage(client, record).call("get_forecast", city="Oslo")
        assert act.got[-1] == act.exchange.sent
    lines = re.findall(r"^import time:.*\| +(\S+)$", log.read_text(), re.MULTILINE)
    assert "pipeguard.firewall.session.session" in lines
    assert [line for line in lines if NOT_IN_A_SESSION.match(line)] == []
    names = {line.removeprefix("pipeguard.") for line in lines} & FILES.keys() - {"records"}
    slow = re.compile(r"^from typing import .*\bNamedTuple\b", re.MULTILINE)
    assert [name for name in sorted(names) if slow.search(FILES[name].read_text("utf-8"))] == []


def test_a_start_does_not_wait_for_what_reads_calls() -> None:
    script = "import pipeguard.runtime.stdio, sys; print(*sys.modules)"
    done = run_command([sys.executable, "-c", script], check=True)
    assert "pipeguard.detect.findings" in done.stdout.split()
    assert "pipeguard.detect.commands.call_names" not in done.stdout.split()
