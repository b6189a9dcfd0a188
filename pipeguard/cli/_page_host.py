"""The page in one process: its links and numbers, and the terminals that show them.

A page that runs as a service, or in `pipeguard serve`, may have no terminal. Then a person attaches
one: `pipeguard ui` connects to a socket in the state folder. An agent's process can do that, too,
so no link and no number ever goes over it. The process that connects is held to what `approve`
demands (launch.agents), by the id that the kernel gives us; links and numbers are written to the
terminal that controls it. Linux only: other systems do not tell enough about a process.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import select
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from hashlib import sha256
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING

import click

from pipeguard.errors import InputError, PipeGuardError
from pipeguard.launch.agents import refuse_agent
from pipeguard.launch.person import (
    Person,
    discard_input,
    find_account,
    make_number,
    open_terminal,
)
from pipeguard.log import say
from pipeguard.state.page_address import publish_address
from pipeguard.state.paths import state_folder, store_path
from pipeguard.unicode.display import visible_lines

if TYPE_CHECKING:
    from aiohttp import web

    from pipeguard.ui.page import Page

HAS_ATTACHING = sys.platform == "linux"
SOCKET = "page.sock"
LINK_SECONDS = 300.0  # for which a link works
MOST_LINKS = 16
MOST_TERMINALS = 8
CONFIRM_SECONDS = 120.0  # to type the number with which a terminal is attached
LOOK_SECONDS = 0.1  # after which a terminal that connects is to be attached
LINE_BYTES = 100
LINK = "The page is at this link, which works once:\n  "


class PageHost:
    """The page of this process, loaded when it is first needed.

    Args:
        person: the person at this process's terminal, if it has one.
        base: the path prefix of the page.

    Attributes:
        origin: scheme, host and port of its address; empty until it has one.
    """

    def __init__(self, person: Person | None, base: str = "") -> None:
        self.origin = ""
        self._base = base
        self._terminals = set[int]() if person is None else {open_terminal()}
        self._by = find_account() if person is None else person.name
        self._keys: dict[str, tuple[float, Callable[[], bool]]] = {}
        self._connections = 0
        self._loading = asyncio.Lock()
        self._runner: web.AppRunner | None = None
        self._page: Page | None = None
        self._exits = ExitStack()
        self._may_decide: Callable[[bytes], bool] = bool

    # --- from start to end ----------------------------------------------------------------

    async def open(self, origin: str, may_decide: Callable[[bytes], bool]) -> None:
        """Offer the page in a process with other work, and print that.

        Args:
            origin: scheme, host and port of its address.
            may_decide: True for the SHA-256 of a token that opens the page.
        """
        try:
            await self.listen()
        except PipeGuardError as error:
            say(f"no page at {self._base}: {error}")
            return
        self.origin = origin
        self._may_decide = may_decide
        say(f"the page on which you decide is at {origin}{self._base}; for a link: pipeguard ui")
        if self._terminals:
            self.show(f"{LINK}{self.make_link()}")

    async def load(self) -> web.AppRunner:
        """Return the page, made on first use."""
        async with self._loading:
            if self._runner is None:
                await asyncio.to_thread(import_module, "pipeguard.ui.app")
                self._runner = await self._make()
        return self._runner

    async def _make(self) -> web.AppRunner:
        from aiohttp import web

        from pipeguard.ui.app import make_app
        from pipeguard.ui.door import Door
        from pipeguard.ui.page import Page

        host = self.origin.partition("//")[2]
        self._page = Page(store_path(), Door(self.show, self._keys), "", self._base)
        self._page.by = f"{self._by}, on the page"
        self._page.hosts = frozenset({host, f"localhost:{host.rpartition(':')[2]}"})
        runner = web.AppRunner(make_app(self._page), access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._exits.enter_context(publish_address(f"{self.origin}{self._base}"))
        return runner

    async def close(self) -> None:
        """End the page."""
        if self._page is not None:
            self._page.is_ending = True
        self._exits.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- requests at an address that has more -----------------------------------------------

    def answers(self, path: str) -> bool:
        """True for a path of the page."""
        return bool(self.origin) and f"{path}/".startswith(f"{self._base}/")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, with a link if it has a token for that."""
        if request.path == f"{self._base}/link":
            return self._give_link(request)
        server = (await self.load()).server
        assert server is not None  # noqa: S101  it was set up
        from pipeguard.ui.app import MOST_FORM_BYTES

        return await server.request_handler(request.clone(client_max_size=MOST_FORM_BYTES))

    def _give_link(self, request: web.BaseRequest) -> web.Response:
        from aiohttp import web

        from pipeguard.transports.http.server.admission import RefusalReason, RequestRefused

        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        digest = sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        if (request.method, scheme.lower()) != ("POST", "bearer") or not self._may_decide(digest):
            why = "POST with a token that opens the page: pipeguard tokens create NAME --decide"
            challenge = {"WWW-Authenticate": "Bearer"}
            raise RequestRefused(RefusalReason.WRONG_TOKEN, 401, why, challenge)
        return web.Response(text=f"{self.make_link(lambda: self._may_decide(digest))}\n")

    # --- links and numbers ----------------------------------------------------------------

    def make_link(self, may_stay: Callable[[], bool] = lambda: True) -> str:
        """Make a link that lets one browser in, once.

        Args:
            may_stay: False once its owner has lost access.
        """
        while len(self._keys) >= MOST_LINKS:
            del self._keys[next(iter(self._keys))]
        key = secrets.token_urlsafe(32)
        self._keys[key] = monotonic() + LINK_SECONDS, may_stay
        return f"{self.origin}{self._base}/enter?key={key}"

    def show(self, text: str) -> bool:
        """Write a line to all terminals of the person; False if no terminal accepts it."""
        return True in {_write(each, f"{text}\n") for each in self._terminals}

    # --- terminals of other processes -------------------------------------------------------

    async def listen(self) -> None:
        """Let terminals be attached.

        Raises:
            InputError: another process has the page, or the socket cannot be made.
        """
        if not HAS_ATTACHING:
            return
        path = state_folder() / SOCKET
        if is_running():
            raise InputError("another process has the page.\n  Open that one:  pipeguard ui")
        listening = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            listening.bind(str(path))
            path.chmod(0o600)  # before it listens
        except OSError as error:
            raise InputError(f"{path} cannot be made: {error.strerror or error}.") from None
        self._exits.callback(path.unlink, missing_ok=True)
        server = await asyncio.start_unix_server(self._attach, sock=listening, limit=LINE_BYTES)
        self._exits.callback(server.close)

    async def _attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Show links and numbers on the terminal that connects, once a person confirms there."""
        terminal = -1
        self._connections += 1
        try:
            if self._connections > MOST_TERMINALS:
                raise InputError("too many terminals are attached to the page: close one of them.")
            await asyncio.sleep(LOOK_SECONDS)
            if reader.at_eof():  # a probe for a running page hangs up at once
                return
            process = _find_process(os.dup(writer.get_extra_info("socket").fileno()))
            person, terminal = await asyncio.to_thread(Person.find_attached, process)
            number = make_number()
            discard_input(terminal)
            _write(terminal, f"To open the page here, type {number}: ")
            async with asyncio.timeout(CONFIRM_SECONDS):
                answer = await reader.readline()
            if not hmac.compare_digest(answer.strip(), number.encode()):
                raise InputError("that is not the number; nothing was done.")
            await self._follow(reader, terminal, person)
        except PipeGuardError as error:
            writer.write(str(error).encode())
        except (OSError, TimeoutError, ValueError, asyncio.CancelledError):
            pass  # it went away, or sent more than a line; or the page ends
        finally:
            self._connections -= 1
            self._terminals.discard(terminal)
            if terminal >= 0:
                os.close(terminal)
            writer.close()

    async def _follow(self, reader: asyncio.StreamReader, terminal: int, person: Person) -> None:
        """Write a link for each line that the person types, and show every number until then."""
        await self.load()
        assert self._page is not None  # noqa: S101  it is loaded
        self._terminals.add(terminal)
        self._page.by = f"{person.name}, on the page"
        self._page.door.forget_numbers()
        is_open = True
        while is_open:
            end = "Press Enter for another link, Ctrl-C to end: the page keeps running."
            _write(terminal, f"{LINK}{self.make_link()}\n{end}\n")
            is_open = bool(await reader.readline())
        self._page.door.forget_numbers()


def _find_process(descriptor: int) -> int:
    """Find the process at the other end of a socket, and close the socket.

    Raises:
        InputError: it is another user's, or in another container.
    """
    with socket.socket(fileno=descriptor) as peer:
        found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, user, _ = struct.unpack("3i", found)
    if user != os.getuid() or process <= 0:
        raise InputError("the page is another user's, or runs in another container.")
    return int(process)


def _write(terminal: int, text: str) -> bool:
    """Write to a terminal; False if it is gone, or blocked."""
    with suppress(OSError):
        return os.write(terminal, text.encode()) > 0
    return False


def _connect() -> socket.socket | None:
    """Connect to the page to which terminals can be attached; None if it does not run."""
    if not HAS_ATTACHING:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(state_folder() / SOCKET))
    except OSError:
        connection.close()
        return None
    return connection


def is_running() -> bool:
    """True if a page runs to which terminals can be attached."""
    if (connection := _connect()) is not None:
        connection.close()
    return connection is not None


def attach() -> bool:
    """Attach this terminal to a page that runs in another process, until Ctrl-C.

    Returns:
        False if no page runs.

    Raises:
        PipeGuardError: it does not take this terminal, or an agent may have started it.
    """
    if (connection := _connect()) is None:
        return False
    with connection:
        host = _find_process(os.dup(connection.fileno()))
        try:
            refuse_agent(host)
        except PipeGuardError:
            raise InputError(
                f"process {host} has the page, and an agent may have started it.\n"
                "  Open one of your own:  pipeguard ui --port 0"
            ) from None
        _pass_lines(connection)
    return True


def _pass_lines(connection: socket.socket) -> None:
    """Forward the lines that the person types, until either side ends.

    Raises:
        InputError: the page does not take this terminal.
    """
    refusal = b""
    while True:
        ready, _, _ = select.select([connection, sys.stdin], [], [])
        if connection in ready:
            if not (data := connection.recv(4096)):
                break
            refusal += data
        elif line := os.read(sys.stdin.fileno(), LINE_BYTES):
            with suppress(OSError):
                connection.sendall(line)
        else:
            return
    if refusal:
        raise InputError(visible_lines(refusal.decode("utf-8", "replace")))
    click.echo("The page has ended.")
