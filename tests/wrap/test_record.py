"""`wrap --record`: real servers, and a record for each session of a client."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from pipeguard.state.record.lines import RecordError, read_lines
from tests.forking import PIPEGUARD
from tests.launch.processes import until
from tests.state.record.replaying import find_differences, read_end, read_frames
from tests.wrap.listening import Browser, Listening, everything, sdk
from tests.wrap.test_listen import ACTOR, CALLS, node
from tests.wrap.wrapped import Json, Object, Wrapped

WORDS = "word " * 1000
MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}


def find_records(folder: Path) -> list[Path]:
    return sorted((folder / "records").glob("*.jsonl"))


def recording(folder: Path) -> tuple[str, ...]:
    return ("--name", "demo", "--record", str(folder / "records"))


def test_a_kill_loses_at_most_a_second(tmp_path: Path) -> None:
    with Wrapped(tmp_path, options=recording(tmp_path)).opened() as wrapped:
        for number in range(20):
            wrapped.ask("tools/call", name="echo", arguments={"text": f"number {number}"})
        sleep(1.2)  # a kill may lose what came later
        wrapped.ask("ping")
        wrapped.kill()
        wrapped.code()
    (path,) = find_records(tmp_path)
    assert len(read_frames(path)) >= 43
    assert find_differences(path) == []
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.real
@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
def test_what_the_sdk_says_is_recorded_and_replays(tmp_path: Path, transport: str) -> None:
    plan: dict[str, object] = {"transport": transport, "mode": "legacy", "calls": CALLS}
    server = (everything(), "stdio")
    if transport == "stdio":
        command = [*PIPEGUARD, "wrap", *recording(tmp_path), "--", *server]
        environment = {**node(), "PIPEGUARD_STATE_DIR": str(tmp_path / "state")}
        sdk(tmp_path, {**plan, "command": command, "env": environment})
    else:
        with Listening(tmp_path, recording(tmp_path)[2:], server, node()) as at:
            url = at.url if transport == "http" else at.url.replace("/mcp", "/sse")
            sdk(tmp_path, {**plan, "url": url})
            assert at.end() == 0
    (path,) = find_records(tmp_path)
    assert read_end(path)["end"] == "closed"
    texts = [str(frame.get("frame")) for frame in read_frames(path)]
    assert sum('"tools/call"' in text for text in texts) == len(CALLS)
    assert sum('"action":"block"' in line for line in path.read_text().splitlines()) >= 1
    assert find_differences(path) == []
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RecordError):
        list(read_lines(path))


def test_each_session_has_a_record_and_single_messages_share_one(tmp_path: Path) -> None:
    with Listening(tmp_path, (*recording(tmp_path)[2:], "--shared"), ACTOR) as at:
        assert Browser(at.url).post({"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 400
        assert find_records(tmp_path) == []  # what is refused has none
        one, two = (Browser(at.url).open() for _ in range(2))

        def call(number: int) -> None:
            client, id_ = (one, two)[number % 2], f"n{number}"
            arguments: Json = {"text": WORDS * (number % 5)}
            params: Json = {"name": "echo", "arguments": arguments}
            client.post({"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params})
            left: Json = {"requestId": id_}
            ended: Object = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": left}
            client.post(ended)

        with ThreadPoolExecutor(20) as threads:
            list(threads.map(call, range(60)))
        one.send("DELETE").close()
        until(lambda: "end" in read_end(find_records(tmp_path)[0]), "its record ends")
        assert at.end() == 0
    records = find_records(tmp_path)
    assert [len(read_frames(path)) for path in records] == [93, 93]
    assert [read_end(path)["end"] for path in records] == ["closed", "closed"]
    assert [find_differences(path) for path in records] == [[], []]
