"""The table of transports, made of the modules there are. runtime/transports.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.errors import PolicyError
from pipeguard.runtime.transports import choose_transport, transport, transport_names
from pipeguard.transports.http import bindings

NEW = """
from pipeguard.transports.http.client.streamable import StreamableChannel
from pipeguard.transports.http.server.backend import TransportBinding

BINDING = TransportBinding("for this test", ("gopher",), StreamableChannel)
"""


def test_each_module_is_a_transport_and_auto_comes_first() -> None:
    assert transport_names() == ("auto", "sse", "streamable-http", "websocket")
    for name in transport_names():
        binding = transport(name)
        assert binding.help
        assert binding.schemes
        assert (binding.make_endpoint is None) == (name == "auto")


def test_names_are_listed_without_an_event_loop_or_an_http_library() -> None:
    code = (
        "import sys; from pipeguard.runtime.transports import transport_names; transport_names();"
        " print([name for name in ('asyncio', 'aiohttp', 'ssl', 'yarl') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert shown.strip() == b"[]"


def test_a_file_beside_the_others_is_a_transport(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "over_gopher.py").write_text(NEW)
    monkeypatch.setattr(bindings, "__path__", [*bindings.__path__, str(tmp_path)])
    assert "over-gopher" in transport_names()
    assert choose_transport("over-gopher", "gopher") == "over-gopher"
    assert choose_transport("auto", "gopher") == "over-gopher"
    monkeypatch.delitem(sys.modules, f"{bindings.__name__}.over_gopher")


def test_a_transport_that_does_not_exist_or_is_not_spoken_there_is_told() -> None:
    with pytest.raises(PolicyError, match="--transport stdio: there is no such transport") as error:
        choose_transport("stdio", "https")
    assert "  sse: HTTP+SSE, the transport of MCP 2024-11-05" in str(error.value)
    with pytest.raises(PolicyError, match="--transport sse: not at an address"):
        choose_transport("sse", "wss")
