"""An authorization server and a protected MCP server, each a real process."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.tools import node, npm_modules, server_python

HERE = Path(__file__).resolve().parent
SERVER = HERE / "server.py"
PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
RESOURCE_SECRET = secrets.token_urlsafe(24)
PATIENCE_SECONDS = 60
# A keyring in a file, as its user may choose one: machines of tests have no better one.
KEYRING = "keyrings.alt.file.PlaintextKeyring"


@contextmanager
def running(command: list[str], log: Path) -> Iterator[Any]:
    """Start a process that prints one line of JSON when it is ready; yield that line."""
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        process.stdout.close()


class Forks:
    """A process that forks copies of a program, with the SDK imported once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @contextmanager
    def running(self, argument: str, log: Path) -> Iterator[Any]:
        """Do the same as `running` for such a copy."""
        told = self._ask(argument=argument, log=str(log))
        try:
            assert told["line"], log.read_text()
            yield json.loads(told["line"])
        finally:
            self._ask(end=told["id"])

    def run(
        self, arguments: list[str], stdin: str, environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Do the same as `subprocess.run` for such a copy."""
        streams = [folder / name for name in ("stdin", "stdout", "stderr")]
        for path, content in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(content, "utf-8")
        told = self._ask(
            arguments=arguments,
            environment=dict(environment),
            streams=list(map(str, streams)),
            seconds=PATIENCE_SECONDS,
        )
        said = [path.read_text("utf-8") for path in streams[1:]]
        return subprocess.CompletedProcess(arguments, told["code"], *said)

    def _ask(self, **asked: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@dataclass
class Site:
    """A place to log in to: servers, and a person's own folders.

    Attributes:
        issuer: the authorization server's issuer.
        folder: this test's own folder.
        browsed: the file with the addresses that the scripted browser visited.
        denied: hashes of tokens that the server refuses, whatever their issuer says.
        forks: starts MCP servers; None to start each by itself.
        guards: starts PipeGuard; None to start each by itself.
    """

    issuer: str
    folder: Path
    stack: ExitStack
    environment: dict[str, str]
    forks: Forks | None = None
    guards: Forks | None = None
    said: list[str] = field(default_factory=list)

    @property
    def browsed(self) -> Path:
        return self.folder / "browsed"

    @property
    def denied(self) -> Path:
        return self.folder / "denied"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def server(self, *, named_issuer: str = "") -> str:
        """Start a protected MCP server; yield its URL."""
        settings = {
            "issuer": self.issuer,
            "named_issuer": named_issuer,
            "secret": RESOURCE_SECRET,
            "denied": str(self.denied),
        }
        argument, log = json.dumps(settings), self.folder / "server.log"
        command = [str(server_python()), "-I", str(SERVER), argument]
        started = self.forks.running(argument, log) if self.forks else running(command, log)
        url: str = self.stack.enter_context(started)["url"]
        return url

    def auth(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `pipeguard auth`; its output is kept in `said`."""
        waits = (
            ("--timeout", "60") if arguments[0] == "login" and "--timeout" not in arguments else ()
        )
        words = ["auth", *arguments, *waits]
        variables = self.environment | dict(environment or {})
        if self.guards:
            done = self.guards.run(words, stdin, variables, self.folder)
        else:
            done = subprocess.run(
                [*PIPEGUARD, *words],
                input=stdin,
                env=variables,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        self.said += [done.stdout, done.stderr]
        return done

    def fails(self, *arguments: str, says: str, code: int = 5, **others: Any) -> str:
        """Run `pipeguard auth`, which must fail with a message; return its output."""
        done = self.auth(*arguments, **others)
        assert done.returncode == code, done.stderr
        assert says in done.stderr
        return done.stderr

    def login(self, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Log in with the scripted browser; this must succeed."""
        done = self.auth("login", url, *arguments)
        assert done.returncode == 0, done.stderr
        return done


Sites = Callable[..., Site]


@contextmanager
def _forking(python: list[str], program: str, *modules: str) -> Iterator[Forks | None]:
    """Start a process that forks programs with the SDK loaded; None if the system cannot fork."""
    if not hasattr(os, "fork"):
        yield None
        return
    with subprocess.Popen(
        [*python, str(HERE / "forks.py"), program, *modules],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield Forks(process)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks | None]:
    """A process that forks MCP servers."""
    modules = ("jwt", "mcp.server.mcpserver", "uvicorn")
    with _forking([str(server_python()), "-I"], str(SERVER), *modules) as started:
        yield started


@pytest.fixture(scope="session")
def guards() -> Iterator[Forks | None]:
    """A process that forks `pipeguard` with everything loaded that a login needs."""
    modules = ("pipeguard.cli.auth", "pipeguard.auth.login", "pipeguard.auth.sdk")
    libraries = ("anyio._backends._asyncio", "httpcore2", "keyring", "keyrings.alt.file")
    with _forking([sys.executable, "-E", "-P"], "pipeguard", *modules, *libraries) as started:
        yield started


@pytest.fixture
def site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forks: Forks | None, guards: Forks | None
) -> Iterator[Sites]:
    """Return a function that starts an authorization server, unless it `is_alone`, with a site."""
    browser = f"{sys.executable} -I {HERE / 'browser.py'} {tmp_path / 'browsed'} %s"
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    monkeypatch.setenv("BROWSER", browser)
    with ExitStack() as stack:

        def make(*, is_alone: bool = False, **changed: object) -> Site:
            if is_alone:
                return Site("", tmp_path, stack, dict(os.environ), forks, guards)
            settings = {
                "modules": str(npm_modules()),
                "lifetime": 600,
                "format": "jwt",
                "registers": True,
                "documents": False,
                "alone": False,
                "discovery": {},
                "audience": None,
                "clients": [
                    {
                        "client_id": "resource",
                        "client_secret": RESOURCE_SECRET,
                        "token_endpoint_auth_method": "client_secret_post",
                        "redirect_uris": [],
                        "response_types": [],
                        "grant_types": [],
                    },
                    *changed.pop("clients", ()),  # type: ignore[misc]
                ],
            } | changed
            command = [str(node()), str(HERE / "authorization.mjs"), json.dumps(settings)]
            ready = stack.enter_context(running(command, tmp_path / "authorization.log"))
            return Site(ready["issuer"], tmp_path, stack, dict(os.environ), forks, guards)

        yield make
