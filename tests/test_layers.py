"""Holds the layers: who may import whom, what the core may use, what a daily session loads."""

import ast
import os
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from pipeguard.demo.client import Client
from pipeguard.demo.play import SERVER, Stage
from pipeguard.state.compiled import engines
from tests.each import each

PACKAGE = Path(__file__).resolve().parent.parent / "pipeguard"

# A module imports what stands in its own row or above it; within a row, never in a circle.
# A folder stands for all that is in it.
LAYERS = (
    ("errors", "version", "_isolate"),
    ("core",),
    ("secrets_in_use",),
    ("transports",),
    (
        "folders",
        "document",
        "settings",
        "rulebook",
        "state",
        "launch",
        "naming",
        "starters",
        "named_urls",
        "arguments",
        "options",
        "log",
        "colour",
        "waiting",
    ),
    ("auth",),
    ("run", "address"),
    ("guarded", "dial"),
    ("wrap", "served", "distant"),
    ("gateway",),
    ("clients", "assess", "demo", "speed", "shells"),
    ("doctor",),
    ("cli",),
    ("__main__", "__init__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

# What can neither wait, nor look at a clock, a file or a die.
PURE = {
    *("__future__", "typing", "types", "dataclasses", "enum", "abc", "functools", "itertools"),
    *(
        "collections",
        "collections.abc",
        "operator",
        "array",
        "bisect",
        "heapq",
        "string",
        "re",
        "fnmatch",
    ),
    *("json", "json.encoder", "json.scanner", "math", "decimal", "unicodedata", "textwrap"),
    *(
        "contextlib",
        "copy",
        "base64",
        "binascii",
        "hashlib",
        "hmac",
        "struct",
        "zlib",
        "difflib",
        "ipaddress",
    ),
    *("hyperscan", "rfc8785", "yaml"),  # yaml reads a pack's text, which is handed in
}
EXCEPTIONS = {  # module of the core, what else it imports: with the reason
    ("core.fingerprint", "io"): "BytesIO, in memory",
    ("core.samples", "random"): "Random(seed): the samples of rules, the same on every run",
    ("core.digest", "_sha2"): "SHA-256, without OpenSSL",
    ("core.digest", "_sha256"): "the same, in CPython 3.11",
    ("core.digest", "_blake2"): "BLAKE2b, without OpenSSL",
    ("core.network", "numpy"): "sums over rows of numbers",
    ("core.finder", "re2"): "regular expressions in linear time",
    ("core.plan", "threading"): "Lock: threads share the databases, which are loaded once",
    ("core.conduct", "threading"): "Lock: the two threads of the pump share a conversation",
    ("core.questions", "threading"): "Lock: they share what results asked",
    ("core.pins", "threading"): "Lock: and what is trusted, which the recorder's thread replaces",
    ("core.sizes", "sys"): "getsizeof: how much memory a text takes",
    ("core.guard", "threading"): "Lock: one thread at a time judges what takes long",
    ("core.vault", "threading"): "Lock: one of them takes secrets out, the other puts them back",
    ("core.flows", "threading"): "Lock: they share what came back, too",
    ("core.escapes", "html"): "unescape, with HTML's table of names",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}

# Nothing of the kind is on the path of stdio to stdio: start-up and memory are felt there.
NOT_IN_A_SESSION = re.compile(
    r"(asyncio|anyio|trio|http|httpx|httpcore|requests|aiohttp|urllib3|urllib\.request|ssl|"
    r"starlette|uvicorn|websockets|structlog|yaml|pydantic|mcp)(\.|$)"
)


def modules() -> dict[str, ast.Module]:
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = ast.parse(file.read_text(encoding="utf-8"))
    return found


MODULES = modules()
CORE = [name for name in MODULES if name.split(".")[0] == "core"]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a tree, by its whole name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in submodules if name.removeprefix("pipeguard.") in MODULES]
            yield from inside or [node.module]


def own_imports(name: str) -> set[str]:
    found = {item for item in imports(MODULES[name]) if item.split(".")[0] == "pipeguard"}
    return {item.removeprefix("pipeguard").removeprefix(".") or "__init__" for item in found}


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The module as it runs: what only type checkers read may well go in a circle."""
    body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"))
    ]
    return ast.Module(body, [])


def test_every_module_has_a_layer() -> None:
    assert {name.split(".")[0] for name in MODULES} <= RANK.keys()


@each("name", list(MODULES))
def test_a_module_imports_nothing_that_stands_below_it(name: str) -> None:
    rank = RANK[name.split(".")[0]]
    assert [item for item in own_imports(name) if RANK[item.split(".")[0]] > rank] == []


def test_no_import_goes_in_a_circle() -> None:
    graph = {}
    for name, tree in MODULES.items():
        running = set(imports(without_type_checking(tree)))
        graph[name] = {item.removeprefix("pipeguard.") for item in running} & MODULES.keys()
    assert set(TopologicalSorter(graph).static_order()) >= MODULES.keys()  # CycleError names it


@each("name", CORE)
def test_the_core_imports_nothing_that_waits(name: str) -> None:
    foreign = {item for item in imports(MODULES[name]) if item.split(".")[0] != "pipeguard"}
    allowed = PURE | {item for module, item in EXCEPTIONS if module == name}
    assert foreign - allowed == set()


@each("name", CORE)
def test_the_core_calls_nothing_that_waits_and_is_not_async(name: str) -> None:
    for node in ast.walk(MODULES[name]):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, ast.unparse(node)


def test_no_exception_outlives_its_reason() -> None:
    for name, item in EXCEPTIONS:
        assert item in set(imports(MODULES[name])), f"{name} does not import {item} any more"


def test_the_public_names_are_imported_by_nobody_inside() -> None:
    assert [name for name in MODULES if "__init__" in own_imports(name)] == []


def test_a_broad_except_stands_in_receive_the_recorder_and_the_command_line_s_one_handler() -> None:
    swallowing = [
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not isinstance(node.body[-1], ast.Raise)
    ]
    assert swallowing == ["__main__", "core.session", "state.recorder"]


def test_a_daily_session_loads_neither_an_event_loop_nor_http_nor_the_log(tmp_path: Path) -> None:
    engines()  # compiles the rules where they are not yet, which is not every day's business
    record = tmp_path / "record.jsonl"
    record.touch()
    log = tmp_path / "stderr"
    wrap = [sys.executable, "-E", "-P", "-X", "importtime", "-m", "pipeguard", "wrap", "--"]
    # Coverage measures by importing itself into the process, and with it half the library.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    environment["PIPEGUARD_STATE_DIR"] = str(tmp_path / "state")
    command = [*wrap, sys.executable, "-I", str(SERVER), str(record)]
    with Client(command, tmp_path, environment, log) as client:
        client.initialize()
        act = Stage(client, record).call("get_forecast", city="Oslo")
        assert act.got[-1] == act.exchange.sent
    lines = re.findall(r"^import time:.*\| +(\S+)$", log.read_text(), re.MULTILINE)
    assert "pipeguard.core.session" in lines
    assert [line for line in lines if NOT_IN_A_SESSION.match(line)] == []
