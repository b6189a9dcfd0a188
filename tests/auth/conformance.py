"""A client for the authorization scenarios of the official conformance suite.

The suite starts it with a server's URL. It logs in with `pipeguard auth login`, in a scripted
browser, and adds a Bearer's header to the requests of the official SDK's client. If the Bearer says
that a person is needed, a person logs in again, three times at most.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client import session
from mcp.client.streamable_http import streamable_http_client

from pipeguard.auth.bearer import Bearer
from pipeguard.auth.store import LoginStore
from pipeguard.errors import LoginNeededError

PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
DOCUMENT = "https://conformance-test.local/client-metadata.json"  # which the suite knows
MOST_LOGINS = 3
session.DISCOVER_TIMEOUT_SECONDS = 60.0  # a login is part of the first request


class Person:
    """Logs in, up to a limit."""

    def __init__(self, url: str) -> None:
        context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
        self.logins = 0
        self._command = [*PIPEGUARD, "auth", "login", url, "--store", "file", "--timeout", "60"]
        if "client_id" in context:
            os.environ["CLIENT_SECRET"] = context["client_secret"]
            self._command += ["--client-id", context["client_id"]]
            self._command += ["--client-secret-env", "CLIENT_SECRET"]
        elif os.environ["MCP_CONFORMANCE_SCENARIO"] == "auth/basic-cimd":
            self._command += ["--client-metadata-url", DOCUMENT]
        elif "endpoint-fallback" in os.environ["MCP_CONFORMANCE_SCENARIO"]:
            self._command += ["--legacy"]

    async def log_in(self) -> None:
        self.logins += 1
        if self.logins > MOST_LOGINS:
            raise SystemExit("enough logins")
        done = await asyncio.to_thread(subprocess.run, self._command, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(done.returncode)


class Sent(httpx2.Auth):
    """Adds a Bearer's header to each request."""

    def __init__(self, bearer: Bearer, person: Person) -> None:
        self._bearer = bearer
        self._person = person

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        while True:
            header = await self._bearer.header()
            if header is not None:
                request.headers["Authorization"] = header
            response = yield request
            asked = ", ".join(response.headers.get_list("www-authenticate"))
            try:
                if not await self._bearer.answer_challenge(response.status_code, asked, header):
                    return
            except LoginNeededError as needed:
                sys.stderr.write(f"{needed}\n")
                await self._person.log_in()


async def main(url: str) -> None:
    bearer, person = Bearer(url, LoginStore()), Person(url)
    async with httpx2.AsyncClient(auth=Sent(bearer, person), timeout=60) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode="auto") as client:
            await client.list_tools()
            await client.call_tool("test-tool", {})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PIPEGUARD_STATE_DIR"] = folder
        browser = Path(__file__).with_name("browser.py")
        os.environ["BROWSER"] = f"{sys.executable} -I {browser} {folder}/browsed %s"
        asyncio.run(main(sys.argv[-1]))
