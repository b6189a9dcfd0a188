"""An authorization server and a protected MCP server, each a real process."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.forking import PIPEGUARD, start
from tests.tools import node, npm_modules, server_python

HERE = Path(__file__).resolve().parent
SERVER = HERE / "server.py"
RESOURCE_SECRET = secrets.token_urlsafe(24)
PATIENCE_SECONDS = 60
# A keyring in a file, as its user may choose one: machines of tests have no better one.
KEYRING = "keyrings.alt.file.PlaintextKeyring"
SERVER_MODULES = ("jwt", "mcp.server.mcpserver", "uvicorn")
MODULES = (  # of a login
    *("pipeguard.cli.auth", "pipeguard.auth.login", "pipeguard.auth.sdk", "keyring"),
    *("anyio._backends._asyncio", "httpcore2", "keyrings.alt.file"),
)


@contextmanager
def running(
    command: list[str], log: Path, start: Callable[..., subprocess.Popen[Any]] = subprocess.Popen
) -> Iterator[Any]:
    """Start a process that prints one line of JSON when it is ready; yield that line."""
    with log.open("ab") as stderr:
        process = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        process.stdout.close()


@dataclass
class Site:
    """A place to log in to: servers, and a person's own folders.

    Attributes:
        issuer: the authorization server's issuer.
        folder: this test's own folder.
        browsed: the file with the addresses that the scripted browser visited.
        denied: hashes of tokens that the server refuses, whatever their issuer says.
    """

    issuer: str
    folder: Path
    stack: ExitStack
    environment: dict[str, str]
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
        program = (str(server_python()), "-I", str(SERVER))
        fork = partial(start, program=program, modules=SERVER_MODULES)
        started = running([*program, json.dumps(settings)], self.folder / "server.log", fork)
        url: str = self.stack.enter_context(started)["url"]
        return url

    def auth(
        self, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `pipeguard auth`; its output is kept in `said`."""
        waits = (
            ("--timeout", "60") if arguments[0] == "login" and "--timeout" not in arguments else ()
        )
        command = [*PIPEGUARD, "auth", *arguments, *waits]
        variables = self.environment | dict(environment or {})
        piped: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with start(command, modules=MODULES, env=variables, text=True, **piped) as process:
            told = process.communicate(stdin, PATIENCE_SECONDS)
        done = subprocess.CompletedProcess(command, process.returncode, *told)
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


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sites]:
    """Return a function that starts an authorization server, unless it `is_alone`, with a site."""
    browser = f"{sys.executable} -I {HERE / 'browser.py'} {tmp_path / 'browsed'} %s"
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    monkeypatch.setenv("BROWSER", browser)
    with ExitStack() as stack:

        def make(*, is_alone: bool = False, **changed: object) -> Site:
            if is_alone:
                return Site("", tmp_path, stack, dict(os.environ))
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
            return Site(ready["issuer"], tmp_path, stack, dict(os.environ))

        yield make
