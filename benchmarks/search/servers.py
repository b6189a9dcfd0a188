"""The tools of real servers: each is installed at its locked version and queried once.

None needs an account to list its tools; tokens are dummies and nothing is called. What was listed
is stored under `.tools/`, under a name that holds the hash of every lock and of this file.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Timer
from typing import IO, Any, NamedTuple

from tests import tools

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.txt"
ANSWER_SECONDS = 60.0
FIRST_PAGE = 2  # the id of the first `tools/list`

Definition = dict[str, Any]
Definitions = dict[str, list[Definition]]  # by server


class ServerError(Exception):
    """A server did not start or did not list its tools."""


class Server(NamedTuple):
    """One server.

    Attributes:
        name: as a user would call it in their configuration.
        program: gives the path of a program by its name.
        command: the program's name, and its arguments.
        environment: what the server asks for before it starts.
    """

    name: str
    program: Callable[[str], Path]
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}


def npm_program(name: str) -> Path:
    """A program of a package in package-lock.json here."""
    return tools.npm_modules(HERE) / ".bin" / (f"{name}.cmd" if os.name == "nt" else name)


def python_program(name: str) -> Path:
    """A program of a package in requirements.txt here."""
    return tools.python_with(LOCK).with_name(f"{name}.exe" if os.name == "nt" else name)


ATLASSIAN = {
    f"{product}_{setting}": value
    for product in ("JIRA", "CONFLUENCE")
    for setting, value in {
        "URL": "https://example.atlassian.net",
        "USERNAME": "nobody",
        "API_TOKEN": "none",
    }.items()
}
SERVERS = (
    Server("airtable", npm_program, ("airtable-mcp-server",), {"AIRTABLE_API_KEY": "none"}),
    Server("arxiv", python_program, ("arxiv-mcp-server",)),
    Server("atlassian", python_program, ("mcp-atlassian",), ATLASSIAN),
    Server("brave-search", npm_program, ("mcp-server-brave-search",), {"BRAVE_API_KEY": "none"}),
    Server("calculator", python_program, ("python", "-m", "mcp_server_calculator")),
    Server("chrome-devtools", npm_program, ("chrome-devtools-mcp",)),
    Server(
        "cloudflare",
        npm_program,
        ("mcp-server-cloudflare", "run", "0" * 32),
        {"CLOUDFLARE_API_TOKEN": "none"},
    ),
    Server("desktop-commander", npm_program, ("desktop-commander",)),
    Server("email", python_program, ("mcp-email-server", "stdio")),
    Server("everything", tools.npm_bin, ("mcp-server-everything",)),
    Server("excel", python_program, ("excel-mcp-server", "stdio")),
    Server("fetch", tools.server_bin, ("mcp-server-fetch",)),
    Server("filesystem", tools.npm_bin, ("mcp-server-filesystem", ".")),
    Server("firecrawl", npm_program, ("firecrawl-mcp",), {"FIRECRAWL_API_KEY": "none"}),
    Server("git", tools.server_bin, ("mcp-server-git",)),
    Server("github", npm_program, ("mcp-server-github",), {"GITHUB_PERSONAL_ACCESS_TOKEN": "none"}),
    Server("gitlab", npm_program, ("mcp-server-gitlab",), {"GITLAB_PERSONAL_ACCESS_TOKEN": "none"}),
    Server(
        "google-maps", npm_program, ("mcp-server-google-maps",), {"GOOGLE_MAPS_API_KEY": "none"}
    ),
    Server("hubspot", npm_program, ("mcp-hubspot",), {"PRIVATE_APP_ACCESS_TOKEN": "none"}),
    Server("kubernetes", npm_program, ("mcp-server-kubernetes",)),
    Server("memory", tools.npm_bin, ("mcp-server-memory",)),
    Server("mongodb", npm_program, ("mongodb-mcp-server",), {"MDB_MCP_TELEMETRY": "disabled"}),
    Server("notion", npm_program, ("notion-mcp-server",), {"NOTION_TOKEN": "none"}),
    Server("obsidian", python_program, ("mcp-obsidian",), {"OBSIDIAN_API_KEY": "none"}),
    Server("outlook", npm_program, ("ms-365-mcp-server", "--preset", "mail,calendar")),
    Server("playwright", npm_program, ("playwright-mcp", "--caps=vision,pdf,tracing,testing")),
    Server("puppeteer", npm_program, ("mcp-server-puppeteer",)),
    Server("redis", python_program, ("redis-mcp-server", "--url", "redis://127.0.0.1:9/0")),
    Server("sequential-thinking", tools.npm_bin, ("mcp-server-sequential-thinking",)),
    Server(
        "slack",
        npm_program,
        ("mcp-server-slack",),
        {"SLACK_BOT_TOKEN": "none", "SLACK_TEAM_ID": "none"},
    ),
    Server("sqlite", python_program, ("mcp-server-sqlite", "--db-path", "benchmark.db")),
    Server("tavily", npm_program, ("tavily-mcp",), {"TAVILY_API_KEY": "none"}),
    Server("time", tools.server_bin, ("mcp-server-time",)),
    Server("todoist", npm_program, ("todoist-mcp",), {"TODOIST_API_KEY": "none"}),
    Server(
        "trello",
        npm_program,
        ("mcp-server-trello",),
        {"TRELLO_API_KEY": "none", "TRELLO_TOKEN": "none"},
    ),
    Server("wikipedia", python_program, ("wikipedia-mcp",)),
    Server("word", python_program, ("word_mcp_server",), {"MCP_TRANSPORT": "stdio"}),
)


@cache
def definitions() -> Definitions:
    """The tools of every server: what was listed before, or what each server lists now.

    Raises:
        ServerError: if one did not list its tools.
        tests.tools.ToolMissingError: if one could not be installed.
    """
    for server in SERVERS:  # installs, each under the lock that the listing takes as well
        server.program(server.command[0])
    folder = tools.installed_once(f"search-{_digest()}", _list_all)
    listed: Definitions = json.loads((folder / "definitions.json").read_text("utf-8"))
    return listed


def _list_all(folder: Path) -> None:
    listed = {server.name: list(tools_of(server)) for server in SERVERS}
    (folder / "definitions.json").write_text(json.dumps(listed, indent=1) + "\n", "utf-8")


def _digest() -> str:
    locks = (
        Path(__file__),
        LOCK,
        HERE / "package-lock.json",
        tools.HERE / "requirements-servers.txt",
        tools.HERE / "package-lock.json",
    )
    return hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]


def tools_of(server: Server) -> Iterator[Definition]:
    """The tools of a server, page by page.

    Raises:
        ServerError: if it did not list anything.
    """
    program, *arguments = server.command
    count = 0
    with tempfile.TemporaryDirectory(prefix="search-") as home, open(os.devnull, "w") as nowhere:
        process = subprocess.Popen(
            [str(server.program(program)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=nowhere,
            cwd=home,
            env={
                **os.environ,
                "PATH": tools.path_with_node(),
                "HOME": home,
                "USERPROFILE": home,
                **server.environment,
            },
        )
        timer = Timer(ANSWER_SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            for definition in _pages(process.stdin, process.stdout):
                count += 1
                yield definition
        finally:
            timer.cancel()
            process.kill()
            process.communicate()
    if not count:
        raise ServerError(f"{server.name} did not list its tools: {' '.join(server.command)}")


def _pages(requests: IO[bytes], answers: IO[bytes]) -> Iterator[Definition]:
    opening: dict[str, Any] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    }
    _send(requests, id=1, method="initialize", params=opening)
    wanted = 1
    for line in answers:
        answer: Any = None
        with suppress(ValueError):
            answer = json.loads(line)
        if not isinstance(answer, dict) or answer.get("id") != wanted or "method" in answer:
            continue
        if wanted == 1:
            _send(requests, method="notifications/initialized")
        result = answer.get("result", {})
        yield from result.get("tools", ())
        cursor = result.get("nextCursor")
        if wanted >= FIRST_PAGE and not cursor:
            return
        wanted += 1
        _send(requests, id=wanted, method="tools/list", params={"cursor": cursor} if cursor else {})


def _send(requests: IO[bytes], **message: Any) -> None:
    requests.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    requests.flush()
