"""Checks of PipeGuard's surroundings: clients' files, proxies, trust in TLS, loopback."""

from __future__ import annotations

import os
import shlex
import socket
import ssl
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from pipeguard.clients.catalog import ConfigScope
from pipeguard.clients.entries import Config, GuardState, ServerEntry, read_config
from pipeguard.clients.guarding import SHARED_LAUNCHER, gateway_launcher
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions
from pipeguard.clients.setting import describe_missing, find_shared_pins, plan
from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.doctor.installation import read_version
from pipeguard.errors import InputError, StateError
from pipeguard.unicode.display import pluralize
from pipeguard.version import VERSION

PROXY_SECONDS = 3.0  # to reach a proxy, which is usually near
LOOPBACK_SECONDS = 3.0
_PROXIED = ("http", "https")  # schemes of proxies that the HTTP client speaks to
_LOCAL = "localhost,127.0.0.1,::1"
# Variables that make programs trust other authorities; servers get them too.
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


def clients(case: Case) -> Iterable[Diagnosis]:
    """True if the guards in clients' files start, and which servers have none."""
    environment = case.environment
    machine = replace(Machine.here(case.project), home=case.user_folder, environment=environment)
    from pipeguard.gateway.discovery import describe_mistakes, usual_file

    configs = [read_config(file) for file in find(machine)]
    options = GuardOptions(is_logged_in=_logins())
    plans = [plan(config, machine, SHARED_LAUNCHER, options) for config in configs]
    servers = [judged for each in plans for judged in each.servers]
    judged = [(each.server, each.judgement.state) for each in servers]
    yield from _unreadable(configs)
    if mistakes := describe_mistakes(usual_file()):
        yield wrong(" ".join(mistakes.split()), "pipeguard serve --check")
    guarded = [(server, server.guard) for server, _ in judged if server.guard is not None]
    yield from _stale([server for server, guard in guarded if guard.is_stale], case)
    yield from _starting([server for server, state in judged if state is GuardState.GUARDED])
    for server, state in judged:
        if state is not GuardState.GUARDED:
            continue
        if why := describe_missing(server, environment, is_guarded=True):
            yield note(f"{server.name} in {server.file} may not start: {why}")
    yield from (note(why) for _, why in find_shared_pins(configs))
    count = {state: sum(other is state for _, other in judged) for state in GuardState}
    files = sum(bool(config.servers) for config in configs)
    summary = f"{pluralize(len(judged), 'server')} in {pluralize(files, 'file')}"
    number = count[GuardState.CANNOT]
    if count[GuardState.OPEN]:
        more = f", and {number} that cannot be guarded" if number else ""
        unguarded = f"{count[GuardState.OPEN]} of them not guarded{more}"
        yield note(f"{summary}, {unguarded}", "pipeguard setup")
    elif number:
        which = "it is" if number == 1 else "they are"
        yield note(f"{summary}, {number} of which cannot be guarded as {which}", "pipeguard setup")
    elif not count[GuardState.STALE]:
        yield good(f"{summary}, all guarded" if judged else "no server in any client's file")


def proxies(case: Case) -> Iterable[Diagnosis]:
    """True if the proxies in the environment can be used and reached."""
    named = getproxies()
    if not named:
        yield good("none")
        return
    fine = True
    for scheme in ("http", "https"):
        if scheme in named:
            for diagnosis in _proxy(scheme, named[scheme]):
                fine = False
                yield diagnosis
    if "all" in named and not {"http", "https"} <= named.keys():
        fine = False
        yield note("ALL_PROXY is ignored", "Set HTTPS_PROXY and HTTP_PROXY instead.")
    if "http" in named and not proxy_bypass("127.0.0.1"):
        fine = False
        existing = case.environment.get("NO_PROXY") or case.environment.get("no_proxy") or ""
        yield note(
            "servers on this machine are called through the proxy, which cannot reach them",
            f"export NO_PROXY={shlex.quote(','.join(filter(None, (existing, _LOCAL))))}",
        )
    if fine:
        hosts = sorted({_show(url) for scheme, url in named.items() if scheme in _PROXIED})
        yield good(f"reachable: {', '.join(hosts)}" if hosts else "none for HTTP")


def trust(case: Case) -> Iterable[Diagnosis]:
    """True if there are certificate authorities to trust."""
    fine = True
    for name in _CERTIFICATES:
        path = case.environment.get(name)
        if path and (why := _unfit_certificates(path)):
            fine = False
            say = wrong if name == "SSL_CERT_FILE" else note
            yield say(f"{name} is {path}: {why}", f"unset {name}, or set it to a PEM file")
    folder = case.environment.get("SSL_CERT_DIR")
    if folder and not any(map(os.path.isdir, folder.split(os.pathsep))):
        fine = False
        yield wrong(f"SSL_CERT_DIR is {folder}, which is not a folder", "unset SSL_CERT_DIR")
    if not fine:
        return
    import truststore

    truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # raises if the system's cannot be used
    if sys.platform in ("darwin", "win32"):
        yield good(f"the system's certificate authorities, {ssl.OPENSSL_VERSION}")
    elif authorities := _authorities():
        yield good(f"the certificate authorities in {authorities}, {ssl.OPENSSL_VERSION}")
    else:
        yield wrong(
            "this system has no certificate authorities, so no https server is trusted",
            "apt-get install ca-certificates, or the like",
        )


def loopback(_case: Case) -> Iterable[Diagnosis]:
    """True if we can listen on loopback and call it, as logins and --listen do."""
    try:
        _connect("127.0.0.1", socket.AF_INET)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        yield wrong(
            f"PipeGuard cannot listen on 127.0.0.1 and connect to it ({why}), so `auth login` and "
            "`wrap --listen` do not work",
            "ip link set lo up, or allow it in the sandbox or firewall that this runs in",
        )
        return
    try:
        _connect("::1", socket.AF_INET6)
    except OSError:
        yield good("127.0.0.1 works, ::1 does not")
    else:
        yield good("127.0.0.1 and ::1 work")


CHECKS = (
    InstallationCheck("clients", "clients", clients, waits="reading the files of clients"),
    InstallationCheck("proxies", "proxies", proxies, waits="calling the proxies"),
    InstallationCheck("trust", "TLS trust", trust),
    InstallationCheck("loopback", "loopback", loopback),
)


def _logins() -> Callable[[str], bool]:
    """True if there is a login for an address; none if the logins cannot be read (see `logins`)."""
    from pipeguard.auth.store import LoginStore

    try:
        stored = {login.server for login in LoginStore().logins()}
    except StateError:
        stored = set()
    return lambda url: bool(stored) and _matches_any(url, stored)


def _matches_any(url: str, stored: Collection[str]) -> bool:
    from pipeguard.auth.server import canonical

    try:
        return canonical(url) in stored
    except InputError:
        return False


def _unreadable(configs: Iterable[Config]) -> Iterator[Diagnosis]:
    """Files that a client may read, but PipeGuard cannot."""
    for config in configs:
        if config.problem:
            yield note(
                f"{config.path}: {config.problem}", "Fix the file in its client, then look again."
            )


def _stale(servers: Iterable[ServerEntry], case: Case) -> Iterator[Diagnosis]:
    """Servers guarded by a launcher that does not exist: the client cannot start them."""
    for server in servers:
        assert server.guard is not None  # noqa: S101  a stale server has one
        gone = server.guard.launcher[0]
        yield wrong(
            f"{server.name} in {server.file} is started by {gone}, which does not exist",
            _guarding(server, case),
        )


def _guarding(server: ServerEntry, case: Case) -> str:
    """The command that writes today's launcher into a file."""
    words = ["pipeguard", "setup", server.client, "--server", server.name, "--yes"]
    if server.scope is ConfigScope.PROJECT:
        words += ["--scope", "project", "--project", str(case.folder)]
    return shlex.join(words)


def _starting(servers: Iterable[ServerEntry]) -> Iterator[Diagnosis]:
    """Servers guarded by a launcher that does not start, or is of another version.

    Only launchers in the user's own files are run, never what a repository names.
    """
    by_launcher: dict[tuple[str, ...], list[ServerEntry]] = {}
    for server in servers:
        guard = server.guard
        launcher = guard.launcher if guard else gateway_launcher(server.words)
        if launcher and server.scope is not ConfigScope.PROJECT:
            by_launcher.setdefault(launcher, []).append(server)
    for launcher, guarded in by_launcher.items():
        version = read_version(launcher)
        names = ", ".join(sorted({server.name for server in guarded}))
        what = f"{shlex.join(launcher)}, which guards {names},"
        if not version:
            yield wrong(f"{what} does not start", f"{shlex.join(launcher)} --version")
        elif version != VERSION:
            yield note(f"{what} is version {version}; this is {VERSION}", "pipeguard setup")


def _proxy(scheme: str, url: str) -> Iterator[Diagnosis]:
    variable = f"{scheme.upper()}_PROXY"
    parts = _parts(url)
    if parts is None or parts.scheme not in _PROXIED:
        kind = parts.scheme if parts else ""
        yield wrong(
            f"{variable} names a proxy that cannot be used"
            + (f": {kind} is not supported" if kind else ", because it is not an address"),
            f"export {variable}=http://HOST:PORT",
        )
        return
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), PROXY_SECONDS).close()
    except OSError as error:
        why = "it did not answer" if isinstance(error, TimeoutError) else error.strerror or ""
        yield wrong(
            f"{variable}: {_show(url)} cannot be reached: {why.lower()}",
            f"unset {variable}, or start the proxy",
        )


def _parts(url: str) -> SplitResult | None:
    """An address in its parts, or None if it is not an address."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0  # reading the port may raise
    except ValueError:
        return None
    return parts if is_whole else None


def _show(url: str) -> str:
    """A proxy's address without its user and password."""
    parts = _parts(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts else "no address"


def _unfit_certificates(path: str) -> str:
    """Why a file has no authorities; empty if it has some."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "it has no certificates"
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
    return "" if context.cert_store_stats()["x509"] else "it has no certificates"


def _authorities() -> str:
    """Paths of the system's authorities, as OpenSSL and truststore look for them."""
    usual = ssl.get_default_verify_paths()
    files = (usual.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/cert.pem")
    for file in (*files, "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"):
        if file and not _unfit_certificates(file):
            return file
    folder = Path(usual.capath or "/etc/ssl/certs")
    return str(folder) if folder.is_dir() and any(folder.iterdir()) else ""


def _connect(address: str, family: socket.AddressFamily) -> None:
    """Listen on an address, connect to it, and receive one byte.

    Raises:
        OSError: it does not work.
    """
    with socket.socket(family) as listening:
        listening.settimeout(LOOPBACK_SECONDS)
        listening.bind((address, 0))
        listening.listen(1)
        with socket.create_connection(listening.getsockname()[:2], LOOPBACK_SECONDS) as caller:
            answering, _ = listening.accept()
            answering.sendall(b"!")
            answering.close()
            if caller.recv(1) != b"!":
                raise ConnectionResetError("nothing came")
