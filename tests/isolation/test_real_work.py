"""Servers that do real work on this machine say the same isolated as they do without.

A browser opens a page, a database keeps a value. Each is fetched once from its registry, at one
version.
"""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeguard.isolation.packages import find_package, find_program
from pipeguard.isolation.sandbox import HOMES, PACKAGES
from tests.isolation.containers import engine_here
from tests.isolation.egress.test_proxy import host
from tests.isolation.test_wrapped import Isolated
from tests.launch.processes import until
from tests.wrap.wrapped import Json, Object

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.needs("bubblewrap")]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "chromium")
PAGE = (
    b"<html><head><title>A page</title></head><body><article><h1>Trams</h1>"
    b"<p>Trams run on <a href='/rails'>rails</a> &amp; on time.</p></article>"
    b"<button id=b onclick=\"document.title='pressed'\">Press</button></body></html>"
)
LAUNCH = json.dumps({"headless": True, "executablePath": CHROMIUM, "args": ["--no-sandbox"]})
HEADING = "document.querySelector('h1').textContent"
Calls = tuple[tuple[str, dict[str, Json]], ...]


class Work(NamedTuple):
    """A server and its requests; `{url}`, `{port}` and `{root}` are filled in."""

    command: tuple[str, ...]
    options: tuple[str, ...]
    calls: Calls
    said: str  # by one of the answers, so that the work was done
    needs: tuple[str, ...] = ()  # programs of the system


WEB = ("--loopback", "{port}")
WORK = {
    "playwright": Work(
        (
            *("npx", "-y", "@playwright/mcp@0.0.83", "--headless", "--no-sandbox", "--isolated"),
            *("--executable-path", CHROMIUM),
        ),
        WEB,
        (
            ("browser_navigate", {"url": "{url}"}),
            ("browser_evaluate", {"function": f"() => {HEADING}"}),
            ("browser_close", {}),
        ),
        "Trams",
        (CHROMIUM, "node 20"),
    ),
    "puppeteer": Work(
        ("npx", "-y", "@modelcontextprotocol/server-puppeteer@2025.5.12"),
        (*WEB, "--env", f"PUPPETEER_LAUNCH_OPTIONS={LAUNCH}", "--env", "ALLOW_DANGEROUS=true"),
        (
            ("puppeteer_navigate", {"url": "{url}"}),
            ("puppeteer_click", {"selector": "#b"}),
            ("puppeteer_evaluate", {"script": "document.title"}),
            ("puppeteer_screenshot", {"name": "page", "encoded": True}),
        ),
        "pressed",
        (CHROMIUM,),
    ),
    "redis": Work(
        ("npx", "-y", "@modelcontextprotocol/server-redis@2025.4.25", "redis://127.0.0.1:{port}"),
        WEB,
        (("set", {"key": "a", "value": "ü"}), ("get", {"key": "a"}), ("delete", {"key": "a"})),
        "ü",
        ("redis-server",),
    ),
    "sqlite": Work(
        ("uvx", "--with", "mcp<2", "mcp-server-sqlite==2025.4.25", "--db-path", "{root}/a.sqlite"),
        ("--write", "{root}"),
        (
            ("write_query", {"query": "INSERT INTO trams VALUES (12, 'Oslo')"}),
            ("read_query", {"query": "SELECT * FROM trams"}),
            ("write_query", {"query": "DELETE FROM trams WHERE line = 12"}),
        ),
        "Oslo",
    ),
}


@pytest.mark.often("redis-bubblewrap")
@pytest.mark.parametrize("engine", ["bubblewrap", "container"])
@pytest.mark.parametrize(
    "server",
    [
        pytest.param(name, marks=[*map(pytest.mark.needs, work.needs)])
        for name, work in WORK.items()
    ],
)
def test_a_server_at_work_says_the_same_isolated(server: str, engine: str, tmp_path: Path) -> None:
    work = WORK[server]
    if engine == "container":
        engine_here(tmp_path / "state" / HOMES)
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as made:
        made.execute("CREATE TABLE trams (line INTEGER, name TEXT)")
    with service(work) as (port, url):
        places = {"{port}": str(port), "{url}": url, "{root}": str(tmp_path)}
        isolated = played(tmp_path, work, places, engine, work.command)
        bare = played(
            tmp_path, work, places, "none", fetched(tmp_path, filled(work.command, places))
        )
        assert work.said in json.dumps(bare, ensure_ascii=False)
        assert isolated == bare


def played(
    folder: Path, work: Work, places: dict[str, str], engine: str, command: tuple[str, ...]
) -> list[str]:
    """Return the server's answers, without times."""
    options = filled(work.options, places)
    if engine == "none":
        own = options.index("--env") if "--env" in options else len(options)
        options = options[own:]
    words = filled(command, places)
    with Isolated(folder, "--isolate", engine, *options, command=words) as run:
        answers = [run.initialize(), run.ask("tools/list")]
        for tool, arguments in work.calls:
            text = json.dumps(arguments)
            for name, value in places.items():
                text = text.replace(name, value)
            answers.append(run.ask("tools/call", name=tool, arguments=json.loads(text)))
        run.hang_up()
        run.code()
    return [masked(answer) for answer in answers]


def masked(answer: Object) -> str:
    text = json.dumps({**answer, "id": 0}, sort_keys=True, ensure_ascii=False)
    return re.sub(r"(page|console)-\d{4}-[\dTZ:.-]+", "…", text)


def filled(words: tuple[str, ...], places: dict[str, str]) -> tuple[str, ...]:
    for name, value in places.items():
        words = tuple(word.replace(name, value) for word in words)
    return words


def fetched(folder: Path, words: tuple[str, ...]) -> tuple[str, ...]:
    """The program of a package that was fetched for the isolated server, to be run without."""
    package = find_package(words)
    assert package is not None
    place = folder / "state" / HOMES / PACKAGES / package.identity
    return (find_program(str(place), package), *package.arguments)


@contextmanager
def service(work: Work) -> Iterator[tuple[int, str]]:
    """Start the service on this machine that the server needs: Redis, or a page."""
    if "redis-server" in work.needs:
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        words = ("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "")
        process = subprocess.Popen(words, stdout=subprocess.PIPE, cwd="/")
        try:
            assert process.stdout is not None
            printed = process.stdout.fileno()
            until(lambda: b"Ready to accept" in os.read(printed, 4096), "it is up")
            yield port, ""
        finally:
            process.terminate()
            process.communicate()
        return
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n\r\n"
    with host(head.encode() + PAGE) as (port, _):
        yield port, f"http://127.0.0.1:{port}/page.html"
