"""`python -m benchmarks.organisation`: a kill switch's way to servers, and what followers cost."""

import argparse
import asyncio
import os
import platform
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import uniform
from statistics import median
from time import monotonic, sleep, time
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.frames.client import Connection, Contender, server_command
from benchmarks.frames.figures import table
from benchmarks.frames.memory import cpu_seconds
from pipeguard.config.atomic_write import replace_file
from pipeguard.config.bundle import sign_bundle, write_key

PIPEGUARD = (sys.executable, "-P", "-m", "pipeguard")
HERE, FILE = "127.0.0.1", "laptops.jws"
ALLOWS_ALL, STOPS_ALL = "{}", "servers: {block: ['*']}"
REASON = b"may not run: the organisation's policy"
APPROVED = [f"npm @example/server {sha256(b'%d' % x).hexdigest()}" for x in range(100)]
PAUSE_SECONDS = 45.0, 75.0  # of `policy follow --watch`
HEADER_BYTES = 52  # of a segment: IPv4, and TCP with its timestamps
TCP_INFO = struct.Struct("120x QQ II")  # <linux/tcp.h>: tcpi_bytes_acked to tcpi_segs_in
STOP_HEADS = (
    *("follow", "machines", "servers", "published to end: 50 %", "all", "to adoption: 50 %"),
    *("all", "adoption to end: 50 %", "all", "told why"),
)
FOLLOW_HEADS = ("bundle", "requests/s", "most", "kB/s in", "kB/s out", "CPU", "answers")
NGINX = """daemon off; master_process off; pid pid; events {{ worker_connections 16384; }}
http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path body; proxy_temp_path
  proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi; server {{ root www;
  listen 127.0.0.1:{}; listen 127.0.0.1:{} ssl; ssl_certificate crt; ssl_certificate_key key; }} }}
"""
CERTIFICATE = f"""openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2
  -subj /CN=here -addext subjectAltName=IP:{HERE} -keyout key -out crt"""


def start(stack: ExitStack, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start a process that ends with the stack; returns its number."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, env=environment, stdout=quiet, stderr=quiet)
    stack.enter_context(process)
    stack.callback(process.terminate)
    return process.pid


class Site:
    """An organisation's key, and its static web server: nginx in one process, by HTTP and HTTPS."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start the server, and end it with the stack."""
        self.folder, self._versions = folder, count(1)
        self._key = Ed25519PrivateKey.generate()
        self.jwk = write_key(self._key.public_key())
        with socket.create_server((HERE, 0)) as plain, socket.create_server((HERE, 0)) as tls:
            self.ports = plain.getsockname()[1], tls.getsockname()[1]
        (folder / "www").mkdir()
        (folder / "nginx.conf").write_text(NGINX.format(*self.ports))
        subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
        words = ("nginx", "-p", f"{folder}/", "-c", "nginx.conf", "-e", "errors")
        self.pid = start(stack, words, os.environ)
        self.trust = ssl.create_default_context(cafile=str(folder / "crt"))
        self.trust.set_alpn_protocols(["http/1.1"])

    def publish(self, policy: str) -> float:
        """Sign a policy and put it in place; returns the time, in seconds since 1970."""
        claims = {"version": next(self._versions), "iat": int(time()), "policy": policy}
        content = sign_bundle({**claims, "approved": APPROVED}, self._key).encode()
        replace_file(self.folder / "www" / FILE, content, 0o644)
        return time()


class Machine:
    """A machine that follows a policy, with settings and state of its own."""

    def __init__(self, site: Site, name: str, port: int) -> None:
        """Enrol it."""
        self._folder = site.folder / name
        own = {f"XDG_{kind}_HOME": str(self._folder / kind) for kind in ("CONFIG", "STATE", "DATA")}
        self._environment = os.environ | own
        self._settings = self._folder / "CONFIG" / "pipeguard"
        self._settings.mkdir(parents=True)
        text = f"url: http://{HERE}:{port}/{FILE}\nkey: {site.jwk}\n"
        (self._settings / "follow.yaml").write_text(text)

    def follow(self, stack: ExitStack, mode: str) -> None:
        """Start `pipeguard policy follow`."""
        start(stack, (*PIPEGUARD, "policy", "follow", mode), self._environment)

    def open_server(self) -> Connection:
        """Start a guarded server and initialize it."""
        words = (*PIPEGUARD, "wrap", "--name", "bench", "--", *server_command(self._folder))
        with (self._folder / "log").open("ab") as log:
            connection = Connection(Contender("pipeguard", words), self._environment, log)
        connection.initialize()
        connection.list_tools()
        return connection

    def adopted(self) -> float:
        """The time at which the bundle in force was stored, in seconds since 1970, or 0."""
        path = self._settings / "bundles.jws"
        return path.stat().st_mtime if path.exists() else 0.0


def stop_servers(site: Site, machines: int, servers: int, mode: str) -> list[str]:
    """Stop servers, divided among machines, by the policy; returns the row of the seconds."""
    site.publish(ALLOWS_ALL)
    fleet = [Machine(site, f"{mode}{number}", site.ports[0]) for number in range(machines)]
    opened = list[tuple[Machine, Connection]]()
    with ExitStack() as stack:
        for machine in fleet:
            start_next = monotonic() + PAUSE_SECONDS[1] / machines  # so their pauses are spread
            machine.follow(stack, mode)
            while not machine.adopted():
                sleep(0.05)
            for _ in range(servers // machines):
                opened.append((machine, stack.enter_context(machine.open_server())))
            sleep(max(0.0, start_next - monotonic()) if mode == "--watch" else 0.0)
        pids = [connection.pid_of_server() for _, connection in opened]
        published = site.publish(STOPS_ALL)
        for machine in fleet if mode == "--once" else ():
            machine.follow(stack, mode)
        ends = wait_for_ends(pids)
        reasons = sum(REASON in connection.source.read() for _, connection in opened)
        adopted = [machine.adopted() for machine, _ in opened]
    took = [end - published for end in ends]
    until = [when - published for when in adopted]
    rest = [end - when for end, when in zip(ends, adopted, strict=True)]
    figures = [f"{x:.2f}" for each in (took, until, rest) for x in (median(each), max(each))]
    return [mode, str(machines), str(len(ends)), *figures, str(reasons)]


def wait_for_ends(pids: Iterable[int]) -> list[float]:
    """Wait for processes to end; returns the time of each, in seconds since 1970."""
    ends = dict.fromkeys(pids, 0.0)
    while running := [pid for pid, end in ends.items() if not end]:
        ends |= {pid: time() for pid in running if not os.path.exists(f"/proc/{pid}")}
        sleep(0.005)
    return [*ends.values()]


def record_request(site: Site) -> bytes:
    """Record what a real follower sends at first."""
    with socket.create_server((HERE, 0)) as server, ExitStack() as stack:
        Machine(site, "recorded", server.getsockname()[1]).follow(stack, "--once")
        return stack.enter_context(server.accept()[0]).recv(65536)


class Fetch(NamedTuple):
    """One fetch: when it began, in seconds; its status, or 0 if it failed; bytes of IP packets."""

    began: float
    etag: bytes
    status: int
    sent: int = 0
    received: int = 0


async def fetch(site: Site, request: bytes, etag: bytes) -> Fetch:
    """Fetch by HTTPS, on a connection of its own as a real follower does."""
    began = monotonic()
    try:
        source, sink = await asyncio.open_connection(HERE, site.ports[1], ssl=site.trust)
        sink.write(request[:-2] + (b"If-None-Match: %b\r\n" % etag if etag else b"") + b"\r\n")
        head = await source.readuntil(b"\r\n\r\n")
        fields = dict(line.partition(b": ")[::2] for line in head.split(b"\r\n"))
        await source.readexactly(int(fields.get(b"Content-Length", 0)))
        info = sink.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        sink.close()
    except (OSError, EOFError):
        return Fetch(began, etag, 0)
    sent, received, packets_out, packets_in = TCP_INFO.unpack_from(info)
    sizes = sent + packets_out * HEADER_BYTES, received + packets_in * HEADER_BYTES
    return Fetch(began, fields[b"ETag"], int(head.split()[1]), *sizes)


async def follow_many(site: Site, followers: int, seconds: float) -> list[list[str]]:
    """Follow with many, before a publication and after it; returns a row for each time."""
    request = record_request(site)
    site.publish(ALLOWS_ALL)
    fetches, rows = [await fetch(site, request, b"")], list[list[str]]()
    first = fetches[0].etag

    async def follow() -> None:
        await asyncio.sleep(uniform(0.0, uniform(*PAUSE_SECONDS)))
        etag = first
        while True:
            fetches.append(await fetch(site, request, etag))
            etag = fetches[-1].etag
            await asyncio.sleep(uniform(*PAUSE_SECONDS))

    tasks = [asyncio.create_task(follow()) for _ in range(followers)]
    for name in ("unchanged", "published"):
        if name == "published":
            site.publish(STOPS_ALL)
        fetches.clear()
        before, began = cpu_seconds(site.pid, 0), monotonic()
        await asyncio.sleep(seconds)
        taken = monotonic() - began
        most = max(Counter(int(each.began) for each in fetches).values())
        sizes = sum(each.sent for each in fetches), sum(each.received for each in fetches)
        cpu = (cpu_seconds(site.pid, 0) - before) / taken
        answers = Counter(each.status for each in fetches).items()
        rows.append([
            *(name, f"{len(fetches) / taken:.0f}", f"{most}"),
            *(f"{size / taken / 1000:.0f}" for size in sizes),
            *(f"{cpu:.1%}", " ".join(f"{number} x {status}" for status, number in answers)),
        ])  # fmt: skip
    for task in tasks:
        task.cancel()
    return rows


def main() -> None:
    """Measure what the arguments ask for, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.organisation", description=__doc__)
    parser.add_argument("--servers", type=int, default=100, help="that run (100; 0: skip)")
    parser.add_argument("--machines", type=int, default=10, help="that watch, with these (10)")
    parser.add_argument("--followers", type=int, default=10_000, help="simulated (10000; 0: skip)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement (60)")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory(prefix="organisation-") as folder, ExitStack() as stack:
        site = Site(Path(folder), stack)
        if options.servers:
            modes = (1, "--once"), (options.machines, "--watch")
            rows = [stop_servers(site, number, options.servers, mode) for number, mode in modes]
            print(table("Kill switch, seconds", STOP_HEADS, rows), flush=True)
        if options.followers:
            rows = asyncio.run(follow_many(site, options.followers, options.seconds))
            print(table(f"{options.followers:,} followers by HTTPS", FOLLOW_HEADS, rows))


if __name__ == "__main__":
    main()
