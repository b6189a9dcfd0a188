"""The headers of MCP 2026-07-28 through `serve`: compared and sent under the names that apply.

Source: MCP 2026-07-28, basic/transports/streamable-http, "Request Headers".
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.gateway.served import ServedAt, write_servers
from tests.listening import Process
from tests.wrap.wrapped import Object

pytestmark = pytest.mark.real

SERVER = Path(__file__).parent.parent / "conformance" / "server.py"
PREFIX = "io.modelcontextprotocol/"
META: Object = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}}
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway with one server twice: remote, and started by the gateway."""
    folder = tmp_path_factory.mktemp("headers")
    python = str(tools.server_python())
    with Process(folder / "server.log", [python, SERVER, "http"]) as server:
        entries: dict[str, Object] = {
            "far": {"url": server.url, "trust": "first-use"},
            "near": {"command": python, "args": [str(SERVER), "stdio"], "trust": "first-use"},
        }
        config = write_servers(folder, entries, mode="direct")
        with ServedAt(folder, "--config", str(config)) as gateway:
            yield gateway.url


def post(address: str, tool: str, region: str, **headers: str) -> tuple[int, Object]:
    """Call a tool that needs its parameter in a header, too; return the status and the answer."""
    params: Object = {"name": tool, "arguments": {"region": region}, "_meta": META}
    body: Object = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    request = urllib.request.Request(  # noqa: S310  our own address
        address,
        json.dumps(body).encode(),
        HEADERS | {name.replace("_", "-"): value for name, value in headers.items()},
    )
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310  our own address
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("server", ["far", "near"])
def test_a_call_goes_on_whose_headers_repeat_it(address: str, server: str) -> None:
    tool = f"{server}__test_custom_header"
    status, answer = post(address, tool, "eu", Mcp_Name=tool, Mcp_Param_Region="eu")
    assert status == 200
    assert "region: eu" in json.dumps(answer)


@pytest.mark.parametrize("server", ["far", "near"])
@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("far__test_simple_text", {"Mcp_Param_Region": "eu"}),
        ("test_custom_header", {"Mcp_Param_Region": "eu"}),
        ("", {"Mcp_Param_Region": "us"}),
        ("", {}),
    ],
    ids=["of-another-tool", "the-servers-own-name", "another-region", "no-region"],
)
def test_a_call_is_refused_whose_headers_say_something_else(
    address: str, server: str, name: str, headers: dict[str, str]
) -> None:
    tool = f"{server}__test_custom_header"
    status, answer = post(address, tool, "eu", Mcp_Name=name or tool, **headers)
    error = answer["error"]
    assert isinstance(error, dict)
    assert (status, error["code"]) == (400, -32020)
