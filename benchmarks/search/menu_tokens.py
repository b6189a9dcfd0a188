"""Tokens (`o200k_base`) that an agent reads of the gateway: the menu, and answers."""

import asyncio
import json
import subprocess
from statistics import median
from types import SimpleNamespace
from typing import NamedTuple, cast

from benchmarks.search.contenders import catalog_of
from benchmarks.search.queries import Query
from benchmarks.search.servers import HERE, Definitions
from pipeguard.detect.detector import Engines
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.gateway.access import ScopedAccess
from pipeguard.gateway.client_request import ClientRequest
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import Opening
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.merged import Merged
from pipeguard.gateway.router import Router
from pipeguard.gateway.tool_calls import ToolCalls
from pipeguard.state.tokens import TokenScope
from tests import tools

TOOLS_IN_ANSWER = 5
SEARCH_TOOL = "retrieve_tools"
# js-tiktoken has its vocabularies in the package, where tiktoken downloads them when it starts.
COUNT = """
const {Tiktoken} = require("js-tiktoken/lite");
const encoding = new Tiktoken(require("js-tiktoken/ranks/o200k_base"));
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => encoding.encode(text, [], []).length)));
"""


class MenuTokens(NamedTuple):
    """Tokens that an agent reads.

    Attributes:
        menu: the definitions in `tools/list` of the gateway.
        menu_characters: of the same.
        all_definitions: what `tools/list` of all servers would be.
        answer: the median of an answer to a query, at five tools.
        longest_answer: the longest of them.
    """

    menu: int
    menu_characters: int
    all_definitions: int
    answer: float
    longest_answer: int


def measured(definitions: Definitions, queries: list[Query]) -> MenuTokens:
    """Count the menu, and the answer to each query."""
    menu, answers = texts_read(definitions, [query.ask for query in queries])
    everything = _json([tool for listed in definitions.values() for tool in listed])
    of_menu, of_everything, *of_answers = counted([menu, everything, *answers])
    return MenuTokens(of_menu, len(menu), of_everything, median(of_answers), max(of_answers))


def texts_read(definitions: Definitions, asks: list[str]) -> tuple[str, list[str]]:
    """The texts an agent reads: the menu, and the answer to each query."""
    catalog = catalog_of(definitions)
    access = ScopedAccess(catalog, lambda: definitions, lambda: (TokenScope(),))
    gateway = Gateway(cast(Engines, None))  # nothing is judged
    gateway.catalog = catalog
    client = cast(GatewayClient, SimpleNamespace(gateway=gateway, access=access, token=""))
    router = cast(Router, None)  # nothing is called on a server
    calls = ToolCalls(client, router, Merged(client, router))
    return _json(calls.list_tools()), [asyncio.run(_answer(calls, ask)) for ask in asks]


def counted(texts: list[str]) -> list[int]:
    """The number of tokens of each text."""
    done = subprocess.run(
        [tools.node(), "-e", COUNT],
        input=json.dumps(texts),
        cwd=tools.npm_modules(HERE).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    counts: list[int] = json.loads(done.stdout)
    return counts


async def _answer(calls: ToolCalls, ask: str) -> str:
    arguments = {"query": ask, "limit": TOOLS_IN_ANSWER}
    params = {"name": SEARCH_TOOL, "arguments": arguments}
    frame = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    message = parse(json.dumps(frame).encode())
    assert isinstance(message, Message)
    answer = await calls.call(ClientRequest.read(message, Opening({}, {})))
    result = answer["result"]
    assert isinstance(result, dict)
    content = result["content"]
    assert isinstance(content, list)
    return "\n".join(str(block["text"]) for block in content if isinstance(block, dict))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
