"""Connections without TLS, and servers that listen on every address."""

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from pipeguard.assess.target import AssessmentTarget
from pipeguard.assess.values import Findings, read_checks
from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.masking import masked_url
from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.firewall.finding import Severity

CLEAR, LISTENS = CHECKS = read_checks("network")
_ALL = re.compile(r"(?:0\.0\.0\.0|\[::\]|::|\*)(?::\d+)?\Z")
_HOSTING = re.compile(r"(?i)--?(?:[\w-]*host|bind|listen|address|addr|ip|interface)\Z")
_HOST_VARIABLE = re.compile(r"(?i)(?:\w+_)?(?:HOST|BIND|LISTEN|ADDRESS|BIND_ADDR)\Z")
_TOKENS = ("--token-env", "--token-file")


def look(target: AssessmentTarget) -> Findings:
    """Check every address, every command, and our own listeners."""
    for server in target.servers:
        yield from _in_clear(target, server)
        yield from _listening(target, server)
    if not target.is_repository:
        yield from _running()


def _in_clear(target: AssessmentTarget, server: ServerEntry) -> Findings:
    places = [("url", server.url or "")] if server.url else []
    places += [(f"args.{i}", word) for i, word in enumerate(server.args) if _is_clear(word)]
    for span, url in places:
        host = _host(url)
        if not _is_clear(url) or host is None or _is_here(host):
            continue
        near = _is_near(host)
        yield CLEAR.at(
            server,
            f"Anybody on the way can read and change {masked_url(url)}"
            f"{' in its network' if near else ''}.",
            line=target.line(server, span),
            key=host,
            severity=Severity.MEDIUM if near else None,
        )


def _listening(target: AssessmentTarget, server: ServerEntry) -> Findings:
    if any(word.partition("=")[0] in _TOKENS for word in server.args):
        return
    before = server.command or ""
    for index, word in enumerate(server.args):
        name, equals, value = word.partition("=")
        address = value if equals and _HOSTING.match(name) else word
        if _ALL.match(address) and (equals or _HOSTING.match(before)):
            yield LISTENS.at(
                server,
                f"It listens on {address}, which is every address of this machine.",
                line=target.line(server, f"args.{index}"),
                key=address,
            )
        before = word
    for name, value in server.env.items():
        if _HOST_VARIABLE.match(name) and _ALL.match(value):
            yield LISTENS.at(
                server,
                f"With {name}={value} it listens on every address, if it reads that variable.",
                line=target.line(server, f"env.{name}"),
                key=name,
                severity=Severity.MEDIUM,
            )


def list_processes() -> Iterator[tuple[str, list[str]]]:
    """The processes of this machine, with their words up to `--`; only on Linux, from /proc."""
    for path in sorted(Path("/proc").glob("[0-9]*/cmdline")):
        with suppress(OSError):  # it has ended
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
            yield path.parent.name, words[: words.index("--")] if "--" in words else words


def find_address(verb: str, words: list[str]) -> str:
    """Return the listening address of a PipeGuard command; empty for any other command."""
    if verb not in words[:6] or not any("pipeguard" in word for word in words[:5]):
        return ""
    address = next((b for a, b in pairwise(words) if a == "--listen"), "")
    return address or next((w[9:] for w in words if w.startswith("--listen=")), "")


def _running() -> Findings:
    """Check our own listeners that are running."""
    for process, words in list_processes():
        address = find_address("wrap", words)
        if _ALL.match(address) and not any(w.partition("=")[0] in _TOKENS for w in words):
            what = f"a `pipeguard wrap --listen {address}` without a token"
            yield LISTENS.at(None, f"Process {process} is {what}.", key=address)


def _is_clear(url: str) -> bool:
    return url.lower().startswith(("http://", "ws://"))


def _host(url: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(url).hostname
    return None


def _is_here(host: str) -> bool:
    return is_loopback(host) or host.endswith(".localhost")  # RFC 6761, section 6.3


def _is_near(host: str) -> bool:
    """True if a host is in a private network."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_private
    return "." not in host or host.endswith((".local", ".internal", ".lan", ".home.arpa"))
