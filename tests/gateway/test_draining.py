"""The end of `serve` behind a balancer: SIGTERM to a real process, with calls in flight."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gateway.served import ServedAt, actor, text_of, write_servers
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.wrap.listening import Browser
from tests.wrap.wrapped import Object

pytestmark = pytest.mark.real
CALL = "tools/call"


def echo(server: str, text: str) -> Object:
    return {"name": f"{server}__echo", "arguments": {"text": text}}


def is_ready(served: ServedAt) -> bool:
    with Browser(served.at("/readyz")).send("GET") as answer:
        return answer.status == 200


def test_a_signal_cuts_no_call_and_loses_no_request(tmp_path: Path) -> None:
    heard, go = tmp_path / "heard", tmp_path / "go"
    servers = {"one": actor(f"heard={heard}"), "two": actor()}
    config = write_servers(tmp_path, servers, mode="direct")
    with (
        ServedAt(tmp_path, "--config", str(config), "--drain", "2") as served,
        ThreadPoolExecutor() as threads,
        Browser(served.url).open().send("GET") as stream,
    ):
        until(lambda: is_ready(served), "it is ready")
        client = Browser(served.url).open()
        slow = threads.submit(client.ask, CALL, **echo("one", f"wait {go}"))
        until(lambda: heard.exists() and str(go) in heard.read_text(), "the call is in flight")
        served.process.send_signal(signal.SIGTERM)
        until(lambda: not is_ready(served), "balancers are told")
        late = Browser(served.url).open().ask(CALL, **echo("two", "late"))
        assert text_of(late) == "late"
        until(lambda: client.post({})[0] == 503, "new requests are refused")
        assert not slow.done()
        go.touch()
        assert str(go) in text_of(slow.result())
        stream.read()  # raises if it is cut
        assert served.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    ("drain", "number"), [("0", signal.SIGTERM), (f"{PATIENCE_SECONDS}", signal.SIGINT)]
)
def test_without_a_balancer_it_ends_at_once(
    tmp_path: Path, drain: str, number: signal.Signals
) -> None:
    config = write_servers(tmp_path, {})
    with ServedAt(tmp_path, "--config", str(config), "--drain", drain) as served:
        until(lambda: is_ready(served), "it is ready")
        served.process.send_signal(number)
        assert served.process.wait(PATIENCE_SECONDS) == 0
