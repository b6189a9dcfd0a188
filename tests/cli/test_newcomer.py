"""Somebody who meets PipeGuard on a machine with several clients.

Every command is a process of its own, in a home folder of its own, as it is typed.
"""

import asyncio
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from pipeguard.config.directories import cache_folder
from tests.auth.conftest import KEYRING
from tests.clients.newcomer import SECRET, contents, furnish
from tests.commands import run_command
from tests.tools import server_python

TIMEOUT_SECONDS = 120
OPEN = 7  # servers that could be guarded
PIPEGUARD = Path(sys.executable).with_name("pipeguard")
SERVER = '''import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("demo")


@server.tool()
def length() -> int:
    """Say how long the token is."""
    return len(os.environ["DEMO_TOKEN"])


server.run("stdio")
'''

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files are where Linux has them")


class Person:
    """A person at a machine, with commands and their output."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.before = furnish(self.home)
        self.environment = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(PIPEGUARD.parent), os.defpath]),
            "PIPEGUARD_CACHE_DIR": cache_folder(),  # compiled once, and not for each test
            "PYTHON_KEYRING_BACKEND": KEYRING,
        }

    def types(self, line: str, given: str = "") -> tuple[int, str]:
        """Run a line; return its exit code and output, which has no secret."""
        words = shlex.split(line)
        assert words[0] == "pipeguard"
        done = run_command(
            [str(PIPEGUARD), *words[1:]],
            input=given,
            env=self.environment,
            cwd=self.home,
            timeout=TIMEOUT_SECONDS,
        )
        told = done.stdout + done.stderr
        assert SECRET not in told
        assert "Traceback" not in told
        return done.returncode, told

    def entry(self) -> dict[str, object]:
        """Return the guarded entry of the started server."""
        config = json.loads((self.home / ".claude.json").read_text(encoding="utf-8-sig"))
        entry = config["mcpServers"]["demo"]
        assert isinstance(entry, dict)
        return entry


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def test_a_guarded_entry_is_started_by_the_sdk(person: Person) -> None:
    """The command is the one in the file; its secret was moved into the keyring before."""
    path = person.home / ".claude.json"
    text = path.read_text(encoding="utf-8").replace(f'"{SECRET}"', '"keyring:demo.DEMO_TOKEN"')
    entry = json.loads(text.lstrip("\ufeff"))["mcpServers"]["demo"]
    server = person.home / "server.py"
    server.write_text(SERVER)
    command, args = json.dumps(str(server_python())), json.dumps(["-I", str(server)])
    text = text.replace(json.dumps(entry["command"]), command)
    path.write_text(text.replace(json.dumps(entry["args"]), args), encoding="utf-8")
    assert person.types("pipeguard secrets set demo.DEMO_TOKEN", given=SECRET)[0] == 0
    guard = f"pipeguard setup claude-code --server demo --yes --launcher {PIPEGUARD}"
    assert person.types(guard)[0] == 0

    entry = person.entry()
    assert entry["command"] == str(PIPEGUARD)
    parameters = StdioServerParameters(
        command=str(entry["command"]),
        args=[str(word) for word in entry["args"]] if isinstance(entry["args"], list) else [],
        env=person.environment | (entry["env"] if isinstance(entry["env"], dict) else {}),
        cwd=person.home,
    )

    async def talk() -> tuple[list[str], bool]:
        async with stdio_client(parameters) as (reads, writes), ClientSession(reads, writes) as s:
            await s.initialize()
            tools = await s.list_tools()
            result = await s.call_tool("length", {})
            return [tool.name for tool in tools.tools], str(len(SECRET)) in str(result.content)

    assert asyncio.run(talk()) == (["length"], True)
    code, told = person.types("pipeguard audit list --json")
    assert (code, "length" in told) == (0, True)


def test_what_stands_badly_is_told(person: Person, tmp_path: Path) -> None:
    code, told = person.types("pipeguard assess")
    assert code == 1
    assert "$ pipeguard secrets set demo.DEMO_TOKEN" in told
    assert "$ pipeguard secrets set fetch.API_KEY" in told
    assert "a comma is missing" in told
    reports = {}
    for form in ("json", "html"):
        file = tmp_path / form
        assert person.types(f"pipeguard assess --format {form} --output {file}")[0] == 1
        reports[form] = file.read_text(encoding="utf-8")
    assert [form for form, text in reports.items() if SECRET in text] == []
    assert [form for form, text in reports.items() if "DEMO_TOKEN" not in text] == []
    assert json.loads(reports["json"])["grade"] == "F"
    code, told = person.types("pipeguard doctor")
    assert code in (0, 1)  # a pipeguard in a project's folder is found wanting
    assert "a comma is missing" in told
    assert f"{OPEN} not guarded" in told
    assert contents(person.home) == person.before
