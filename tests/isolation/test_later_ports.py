"""Ports that a running server is given, and direct connections at ports that it was not given."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.isolation.containers import engine_here
from tests.isolation.egress.company_proxy import company
from tests.isolation.egress.sandbox import port_of
from tests.isolation.test_escapes import answering
from tests.isolation.test_wrapped import Isolated, isolated
from tests.launch.processes import until
from tests.wrap.deciding import decide

pytestmark = pytest.mark.needs("bubblewrap")

POLICY = "isolate:\n- {server: reacher, hosts: [service.test]}\n"


@contextmanager
def service() -> Iterator[int]:
    """The port of a service of this machine that says `reached`, as services' ports are."""
    port = next(filter(is_free, range(24000, 24100)))
    with answering(socket.AF_INET, ("127.0.0.1", port)):
        yield port


def is_free(port: int) -> bool:
    """Whether a port can be listened at."""
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def allow_what_was_refused(folder: Path, run: Isolated, target: str) -> None:
    """What the log advises, as the user does it."""
    until(lambda: f"excerpt={target} " in run.said(), "the refusal is told")
    line = next(line for line in run.said().splitlines() if f"excerpt={target} " in line)
    words = re.findall(r"'pipeguard (allow [^']+)'", line)[0].split()
    environment = {"PIPEGUARD_POLICY": str(folder / "policy.yaml")}
    code, shown = decide(folder / "state", *words, environment=environment)
    assert code == 0, shown


@pytest.mark.parametrize("engine", ["bubblewrap", "container"])
def test_a_port_of_this_machine_is_opened_while_the_server_runs(
    tmp_path: Path, engine: str
) -> None:
    policy = POLICY.replace("server:", f"engine: {engine}, server:")
    if engine == "container":
        engine_here(tmp_path / "engine")
    with service() as port, isolated(tmp_path, policy=policy) as run:
        target = f"127.0.0.1:{port}"
        assert run.call("connect", target) == "ConnectionRefusedError"
        allow_what_was_refused(tmp_path, run, str(port))
        until(lambda: run.call("connect", target) == "reached", "the port is given")


def test_a_port_of_a_host_is_opened_while_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "service.test:8443"
    with (
        answering(socket.AF_INET, ("127.0.0.1", 0)) as host,
        company({target: port_of(host)}) as outer,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{outer.port}")
        with isolated(tmp_path, policy=POLICY) as run:
            assert run.call("connect", target) == "ConnectionRefusedError"
            allow_what_was_refused(tmp_path, run, target)
            until(lambda: run.call("connect", target) == "reached", "the port is given")
            (tmp_path / "policy.yaml").write_text(POLICY)
            until(lambda: run.call("connect", target) != "reached", "the port is taken")
            assert "egress.port" in run.said()


def test_an_address_that_is_written_out_is_told_at_any_port(tmp_path: Path) -> None:
    with isolated(tmp_path, policy=POLICY) as run:
        for target in ("93.184.215.14:25", "10.0.0.5:6000", "1.1.1.1:53", "localhost:5432"):
            assert run.call("connect", target) == "ConnectionRefusedError"
            told = f"excerpt={target.removeprefix('localhost:')} "
            until(lambda told=told: told in run.said(), f"{target} is told")  # type: ignore[misc]
