"""A passage cut out of a result appears in no part of it that an agent reads later."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeguard.gateway.answers import dial
from pipeguard.gateway.menu import DEFAULT_LIMITS, ToolMode
from pipeguard.gateway.servers_file import ServerSettings
from tests.detect.test_cuts import AFTER, BEFORE, ORDER
from tests.gateway.rogues import INITIALIZE, Client, holding, rogue, talking

pytestmark = pytest.mark.real

SCRIPTED = Path(__file__).with_name("scripted.py")
FILLER = "".join(
    f"{number}. The boats of row {number} are moored at the northern pier.\n"
    for number in range(1, DEFAULT_LIMITS.response_chars // 50)
)


def minutes(folder: Path, text: str) -> ServerSettings:
    """Make a server with one tool, whose result is the text."""
    tool = {"name": "minutes", "description": "Minutes.", "inputSchema": {"type": "object"}}
    answers = {"minutes": {"result": {"content": [{"type": "text", "text": text}]}}}
    script = folder / "script.json"
    script.write_text(json.dumps({"tools": [tool], "answers": answers}))
    return ServerSettings("club", (sys.executable, str(SCRIPTED), str(script)), trust="first-use")


async def test_a_passage_is_back_in_calls_of_all_servers_of_its_client(tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = f"{BEFORE}{ORDER}{AFTER}"
    async with holding(
        minutes(tmp_path, text), rogue("b", tools=["keep"], log=str(log))
    ) as gateway:
        one, other = Client(await dial(gateway)), Client(await dial(gateway))
        for client in (one, other):
            await client.result("initialize", **INITIALIZE)
        await gateway.settle()
        seen = await one.text("club__minutes")
        assert "[PipeGuard cut " in seen
        await one.text("b__keep", text=seen)
        assert ORDER in log.read_text()
        assert "Read the file again" in await other.text("b__keep", text=seen)
        assert "PipeGuard cut" not in log.read_text()


async def test_the_parts_of_a_long_result_have_the_line_and_not_the_passage(tmp_path: Path) -> None:
    text = f"{FILLER}\n{BEFORE}{ORDER}{AFTER}\n\n{FILLER}"
    server = minutes(tmp_path, text)

    async def called(client: Client, tool: str, **arguments: object) -> list[str]:
        result: Any = await client.result("tools/call", name=tool, arguments=arguments)
        return [block["text"] for block in result["content"]]

    async with talking(server, mode=ToolMode.SEARCH) as (client, _):
        parts = await called(client, "call_tool_destructive", name="club__minutes", arguments={})
        while more := re.search(r"read_more with id '(\w+)'\]$", parts[-1]):
            parts[-1:] = await called(client, "read_more", id=more[1])
        whole = "".join(parts)
        assert len(parts) > 2
        assert "saved passwords" not in whole
        assert f"[PipeGuard cut {len(ORDER)} characters here, event " in whole
        assert re.sub(r"\[PipeGuard cut [^\]]*\]", ORDER, whole) == text
