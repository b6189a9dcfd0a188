"""A real network namespace without a route, and a way out of it."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

import pytest

from pipeguard.isolation.egress.hosts import HostRules
from pipeguard.isolation.egress.judge import EgressRecord
from pipeguard.isolation.egress.outer_proxy import OuterProxies
from pipeguard.isolation.egress.proxy import Egress
from pipeguard.isolation.egress.sockets import PROXY_PORT, EgressSockets, send_sockets
from pipeguard.isolation.egress.state import EgressLimits, EgressState

TOP = Path(__file__).resolve().parents[3]
INSIDE = Path(__file__).with_name("inside.py")
PROXY = f"127.0.0.1:{PROXY_PORT}"
SECONDS = 60.0  # only a failure waits so long


class Records:
    """The reported connections, to wait for."""

    def __init__(self) -> None:
        self.all: list[EgressRecord] = []
        self._changed = Condition()

    def __call__(self, record: EgressRecord) -> None:
        with self._changed:
            self.all.append(record)
            self._changed.notify_all()

    def wait(self, count: int) -> list[EgressRecord]:
        """Wait for the first records, and return them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.all) >= count, SECONDS):
                raise AssertionError(f"only {self.all}")
            return self.all[:count]


def listener(address: str = "127.0.0.1", family: int = socket.AF_INET) -> socket.socket:
    """A listening socket at some port."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind((address, 0))
    sock.listen(1024)
    return sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


@contextmanager
def running(
    rules: HostRules,
    resolve: Callable[[str], Iterable[str]] | None = None,
    limits: EgressLimits | None = None,
    sockets: EgressSockets | None = None,
    proxies: OuterProxies | None = None,
) -> Iterator[tuple[int, Records, Egress]]:
    """Run an egress on a loopback socket; yield the proxy's port, the reports, and the egress."""
    records = Records()
    state = EgressState(rules, records, limits or EgressLimits(), resolve, proxies)
    ours, theirs = socket.socketpair()
    with listener() as proxy, theirs:
        port = port_of(proxy)
        send_sockets(theirs, sockets or EgressSockets((proxy,)))
    egress = Egress(ours, state)
    egress.start()
    try:
        yield port, records, egress
    finally:
        egress.close()


BWRAP = (
    *("bwrap", "--unshare-net", "--unshare-user", "--die-with-parent"),
    *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
    *("--ro-bind", str(TOP), str(TOP)),  # which may be in /tmp
    *("--cap-add", "CAP_NET_BIND_SERVICE"),
)


needs_namespaces = pytest.mark.needs("bubblewrap")


def run_inside(
    command: Sequence[str],
    rules: HostRules,
    resolve: Callable[[str], Iterable[str]] | None = None,
    environment: dict[str, str] | None = None,
) -> tuple[subprocess.CompletedProcess[str], list[EgressRecord]]:
    """Run a command in a namespace with one egress; return its result and the reports."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryDirectory() as folder:
        resolv = Path(folder) / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.53\n")
        bwrap = [*BWRAP, "--ro-bind", str(resolv), os.path.realpath("/etc/resolv.conf")]
        inside = [sys.executable, str(INSIDE), str(theirs.fileno()), json.dumps([*rules.ports])]
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOP), "HOME": "/nowhere"}
        process = subprocess.Popen(
            [*bwrap, *inside, *command],
            env=variables | (environment or {}),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        with process, ours:
            records = Records()
            egress = Egress(ours, EgressState(rules, records, resolve=resolve))
            egress.start()
            egress.report_refused()  # the sockets are there
            ours.send(b"g")
            out, err = process.communicate(timeout=SECONDS)
            egress.close()
    return subprocess.CompletedProcess(command, process.returncode, out, err), records.all
