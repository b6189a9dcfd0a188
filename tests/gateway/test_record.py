"""`serve --record`: one record for each client, with the frames of all its servers."""

from pathlib import Path

import pytest

from pipeguard.rulebook.samples import expand
from pipeguard.state.record.lines import read_lines
from tests.gateway.served import Served, ServedAt, write_servers
from tests.gateway.test_flows_across_servers import four_servers, scripted
from tests.launch.processes import PATIENCE_SECONDS
from tests.state.record.replaying import find_differences, read_end, read_frames
from tests.wrap.listening import Browser
from tests.wrap.wrapped import Json, Object

LINK = expand({"gen": "https://a.example/reset?token={b62:32}"}, 1)


def servers(folder: Path) -> Path:
    entries: dict[str, Object] = {
        each.name: {"command": each.command[0], "args": [*each.command[1:]], "trust": each.trust}
        for each in (*four_servers(folder)[:3], scripted(folder, "box", "get_inbox", "at", LINK))
    }
    return write_servers(folder, entries)


@pytest.mark.real
def test_a_flow_over_two_servers_replays(tmp_path: Path) -> None:
    options = ("--config", str(servers(tmp_path)), "--mode", "direct")
    folder = tmp_path / "records"
    with Served(tmp_path, *options, "--record", str(folder)).opened() as client:
        client.ask("tools/list")
        assert LINK in client.call("box__get_inbox", at="once")
        assert "PipeGuard" in client.call("mail__http_post", body=LINK)
        assert client.call("mail__http_post", body="See you at noon.") == "sent"
        client.call("web__fetch", url="https://blog.example/setup")
        client.end()
    (path,) = folder.glob("gateway-*.jsonl")
    assert find_differences(path) == []
    assert {line["server"] for line in read_frames(path)} == {"box", "mail", "web"}
    (stopped,) = (line for line in read_frames(path) if line["action"] == "block")
    assert stopped["server"] == "mail"
    assert "flows.secret-out" in stopped["rules"]
    assert read_end(path)["end"] == "closed"
    numbers = [line["n"] for _, line in read_lines(path) if "n" in line]
    assert numbers == [*range(1, len(numbers) + 1)]


@pytest.mark.real
def test_each_client_at_an_address_has_a_record(tmp_path: Path) -> None:
    options = ("--config", str(servers(tmp_path)), "--mode", "direct")
    folder = tmp_path / "records"
    arguments: Json = {"body": "See you at noon."}
    with ServedAt(tmp_path, *options, "--record", str(folder)) as at:
        clients = [Browser(at.url).open() for _ in range(2)]
        for client in clients:
            client.ask("tools/list")
            client.ask("tools/call", name="mail__http_post", arguments=arguments)
        alone = Browser(at.url.replace("/mcp", "/servers/mail/mcp")).open()
        alone.ask("tools/list")
        alone.ask("tools/call", name="http_post", arguments=arguments)
        at.process.terminate()
        at.process.wait(PATIENCE_SECONDS)
    names = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert names == ["gateway", "gateway", "mail"]
    for path in folder.iterdir():
        assert len(read_frames(path)) >= 5
        assert read_end(path)["end"] == "closed"
        assert find_differences(path) == []
