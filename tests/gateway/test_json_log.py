"""The log of `serve` for programs: every line is an object, and names its subject."""

import json
import subprocess
from pathlib import Path

import pytest

from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from tests.forking import PIPEGUARD
from tests.gateway.served import ServedAt, actor, environment_of_state, write_servers
from tests.gateway.test_serving import ask

pytestmark = pytest.mark.real
KEY = "ghp_" + "Z7QX4M2N5P6R3STV" * 2 + "abcd"


def test_each_line_is_an_object_with_server_token_and_event(tmp_path: Path) -> None:
    config = write_servers(tmp_path, {"one": actor()}, mode="direct")
    person = {**environment_of_state(tmp_path), TOKEN_VARIABLE: new_token()[0]}
    done = subprocess.run(
        [*PIPEGUARD, "tokens", "create", "ci"], env=person, capture_output=True, check=True
    )
    token = done.stdout.decode().strip()
    options = ("--config", str(config), "--log-format", "json")
    with ServedAt(tmp_path, *options) as served:
        ask(served.url, token, "tools/call", name="one__echo", arguments={"text": f"key {KEY}"})
    lines = [json.loads(line) for line in served.said().splitlines()]
    assert {"timestamp", "level", "event"} <= set.intersection(*map(set, lines))
    (blocked,) = [line for line in lines if line["event"].startswith("block secrets.")]
    assert (blocked["server"], blocked["token"], blocked["level"]) == ("one", "ci", "warning")
    assert blocked["event_id"].rpartition(".")[2].startswith("c")
    assert any(line["event"].startswith("listening on http://") for line in lines)
    assert {line["server"] for line in lines if "ready" in line["event"]} == {"one"}
