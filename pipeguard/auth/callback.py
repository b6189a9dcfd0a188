"""The browser's return after a login: a loopback port, or a line that a person pastes.

Accepts the answer with this login's `state` and ignores all others. Knows no token.

Every user of a machine can read a program's arguments, and anyone who knows the `state` could
answer first, with a login of their own. So the browser is started with a local URL that redirects
to the login page, and if the system tells whose program connects, only this user's get an answer.
"""

import asyncio
import os
import socket
import struct
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import compare_digest, token_urlsafe
from typing import NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

from pipeguard.auth.server import is_loopback_url
from pipeguard.auth.store import StoredLogin
from pipeguard.errors import AuthError, InputError

PATH = "/callback"
LINE_BYTES = 2**16  # of a pasted URL
KEY_BYTES = 16  # of the URL that a browser is started with
SECONDS_A_REQUEST = 10  # browsers open connections in advance and leave them unused
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>PipeGuard</title>"
    "<p>{}</p><p>You can close this window and go back to the terminal.</p></html>"
)
_DONE = _PAGE.format("PipeGuard got the answer.")
_FOREIGN = _PAGE.format("This page is for the user who started the login.")
_USED = _PAGE.format("This page was already opened. If not by you, start the login again.")
_STRAY = _PAGE.format("This is not an answer to the login that PipeGuard waits for.")


_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MAPPED = "0000000000000000FFFF0000"  # ::ffff:0:0/96, in the table's notation
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9  # columns


def is_own_peer(peer: tuple[str, int], ours: tuple[str, int]) -> bool | None:
    """True if a connection comes from a program of this user or of root.

    Args:
        peer: address and port of the other end.
        ours: address and port of our end.

    Returns:
        None if the system does not say.
    """
    there = _table_entry(*peer)
    here = _table_entry(*ours)
    has_table = False
    for table in _TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except (OSError, UnicodeDecodeError):
            continue
        has_table = True
        for line in lines:
            columns = line.split()
            ends = columns[_LOCAL].removeprefix(_MAPPED), columns[_REMOTE].removeprefix(_MAPPED)
            if ends == (there, here):
                # A socket that its program has closed has no inode; older kernels call it root's.
                return int(columns[_UID]) in (0, os.getuid()) and columns[_INODE] != "0"
    return False if has_table else None


def _table_entry(host: str, port: int) -> str:
    family, form = (socket.AF_INET6, "=4I") if ":" in host else (socket.AF_INET, "=I")
    numbers = struct.unpack(form, socket.inet_pton(family, host))
    return f"{''.join(f'{number:08X}' for number in numbers).removeprefix(_MAPPED)}:{port:04X}"


class Answer(NamedTuple):
    """The authorization response (RFC 6749, 4.1.2 and 4.1.2.1; RFC 9207); None if absent."""

    state: str
    code: str | None
    iss: str | None
    error: str | None
    description: str | None

    def __repr__(self) -> str:  # the code is a secret until it is used or expires
        return f"Answer(error={self.error!r})"


def parse_answer(query: str, state: str) -> Answer | None:
    """The answer in a URL's query; None if it does not answer the request with this state."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):  # RFC 6749, 3.1: no parameter may be repeated
        return None
    if not compare_digest(parameters.get("state", "").encode(), state.encode()):
        return None
    if not (parameters.get("code") or parameters.get("error")):
        return None
    return Answer(
        state,
        parameters.get("code") or None,
        parameters.get("iss"),
        parameters.get("error") or None,
        parameters.get("error_description"),
    )


class _Page(NamedTuple):
    """An HTTP response: status, body, and target of its redirection."""

    status: int
    text: str
    location: str = ""


class Callback:
    """A loopback port that waits for one answer (RFC 8252, 7.3).

    Attributes:
        uri: the redirect URI, with the port that it listens on.
        start: the URL to start a browser with; it redirects to the login page and hides its URL.
    """

    def __init__(self, redirect_uri: str = "", port: int = 0) -> None:
        """Listen.

        Args:
            redirect_uri: the redirect URI to use, if the authorization server knows only this one.
            port: otherwise the port to try; if it is taken, any free one.

        Raises:
            InputError: the redirect URI is not on loopback, or has no port.
            AuthError: its port is taken.
        """
        self._path = PATH
        fixed = 0
        if redirect_uri:
            self._path, fixed = _loopback(redirect_uri)
        self._state: str | None = None
        self._start = f"/login/{token_urlsafe(KEY_BYTES)}"
        self._login_page: str | None = None
        self._was_opened = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answer: asyncio.Future[Answer] | None = None
        try:
            self._server = _listening(fixed or port, self._page)
        except OSError as error:
            if fixed or not port:
                raise AuthError(
                    f"port {fixed} for the browser's answer cannot be used: {error.strerror}."
                ) from None
            self._server = _listening(0, self._page)
        here = f"http://127.0.0.1:{self._server.server_port}"
        self.uri = redirect_uri or f"{here}{PATH}"
        self.start = f"{here}{self._start}"

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="callback", daemon=True
        ).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def expect(self, state: str, login_page: str) -> None:
        """Accept the answer with this state from now on; called in the event loop's thread."""
        self._loop = asyncio.get_running_loop()
        self._answer = self._loop.create_future()
        self._state = state
        self._login_page = login_page

    async def answer(self, timeout_seconds: float) -> Answer:
        """Wait for the answer.

        Raises:
            AuthError: there was none in time.
        """
        assert self._answer is not None  # noqa: S101  expect() comes first
        try:
            return await asyncio.wait_for(self._answer, timeout_seconds)
        except TimeoutError:
            raise AuthError(
                f"nobody logged in within {timeout_seconds:g} seconds.\n"
                "  Run it again, or allow more time with --timeout SECONDS."
            ) from None

    def read_pasted(self, descriptor: int, tell: Callable[[str], None]) -> None:
        """Also accept a URL that a person pastes, in a daemon thread."""

        def read_lines() -> None:
            # Unbuffered: a thread that has the lock of sys.stdin would delay the process's end.
            rest = b""
            while chunk := _read(descriptor):
                *whole, rest = (rest + chunk)[-LINE_BYTES:].split(b"\n")
                for line in whole:
                    text = line.decode("utf-8", "replace").strip()
                    if text and not self._take(parse_query(text)):
                        tell("That URL does not answer this login. Paste the whole URL.")

        threading.Thread(target=read_lines, name="pasted", daemon=True).start()

    def _page(self, target: str, *, is_own: bool | None) -> _Page:
        """The response to a browser's request.

        Args:
            target: the request's path and query.
            is_own: whether this user's program sent it; None if that is unknown.
        """
        path, _, query = target.partition("?")
        if is_own is False:
            return _Page(403, _FOREIGN)
        if path == self._start and self._login_page is not None:
            if self._was_opened and not is_own:
                return _Page(410, _USED)
            self._was_opened = True
            return _Page(302, _STRAY, self._login_page)
        if path != self._path:
            return _Page(404, _STRAY)
        return _Page(200, _DONE) if self._take(query) else _Page(400, _STRAY)

    def _take(self, query: str) -> bool:
        """Pass an answer to the event loop, from any thread; False if it is not this login's."""
        if self._state is None or (answer := parse_answer(query, self._state)) is None:
            return False
        loop = self._loop
        waiting = self._answer
        assert loop is not None  # noqa: S101  set with the state
        assert waiting is not None  # noqa: S101  likewise

        def resolve() -> None:
            if not waiting.done():
                waiting.set_result(answer)

        with suppress(RuntimeError):  # the loop ended, after another answer
            loop.call_soon_threadsafe(resolve)
        return True


def port_of_last(login: StoredLogin | None) -> int:
    """The port of an earlier registration's redirect URI, which may be fixed; 0 for none."""
    uris = login.client.get("redirect_uris") if login else None
    if isinstance(uris, list) and uris and is_loopback_url(str(uris[0])):
        return urlsplit(str(uris[0])).port or 0
    return 0


def open_browser(url: str) -> bool:
    """Open the user's browser; False without a browser, or with one in the terminal only."""
    if sys.platform not in ("win32", "darwin") and not os.environ.get("BROWSER"):
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return False
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("BROWSER"):
        return False  # it would open on another machine than the user's
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(url)
    return False


def parse_query(text: str) -> str:
    """The query of a pasted URL, or the text itself if only the query was pasted."""
    with suppress(ValueError):
        parts = urlsplit(text)
        return parts.query or text.lstrip("?")
    return ""


def _listening(port: int, page: Callable[..., _Page]) -> ThreadingHTTPServer:
    class CallbackRequest(BaseHTTPRequestHandler):
        timeout = SECONDS_A_REQUEST
        server_version = "PipeGuard"
        sys_version = ""

        def do_GET(self) -> None:
            is_own = is_own_peer(self.client_address, self.connection.getsockname())
            status, text, location = page(self.path, is_own=is_own)
            body = text.encode()
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", "default-src 'none'")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")  # the URL contains the code
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: the URL contains the code."""

    class CallbackServer(ThreadingHTTPServer):
        daemon_threads = True
        # On Windows the option lets a second process take the port; on POSIX it does not.
        allow_reuse_address = sys.platform != "win32"

        def handle_error(self, request: object, client_address: object) -> None:
            """Log nothing: browsers often hang up."""

    return CallbackServer(("127.0.0.1", port), CallbackRequest)


def _loopback(uri: str) -> tuple[str, int]:
    parts = urlsplit(uri)
    if not is_loopback_url(uri) or not parts.port or parts.query or parts.hostname == "::1":
        raise InputError(
            f"{uri!r} is not a redirect URI to listen on, as http://127.0.0.1:8765{PATH} is one."
        )
    return parts.path or "/", parts.port


def _read(descriptor: int) -> bytes:
    with suppress(OSError):
        return os.read(descriptor, 4096)
    return b""
