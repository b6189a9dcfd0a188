"""A company's proxy: CONNECT over real sockets, names resolved by a table of its own."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.isolation.egress.sandbox import listener, port_of

MAX_HEAD = 2**16
OPENED = b"HTTP/1.1 200 OK\r\nVia: 1.1 company\r\nContent-Length: 5\r\n\r\n"
NO_LOGIN = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"


@dataclass
class CompanyProxy:
    """A running proxy.

    Attributes:
        port: its port at 127.0.0.1.
        names: the ports that it connects to, by requested host and port.
        authorization: the credentials that it demands, or empty.
        heads: the heads of its requests.
    """

    port: int
    names: Mapping[str, int]
    authorization: str = ""
    heads: list[str] = field(default_factory=list)

    def serve(self, client: socket.socket) -> None:
        """Serve one connection."""
        head = head_of(client)
        if not head:
            return  # whoever connected left without a word
        self.heads.append(head)
        words = head.split()
        if self.authorization and f"\r\nProxy-Authorization: {self.authorization}\r\n" not in head:
            client.sendall(NO_LOGIN)
        elif words[0] != "CONNECT" or words[1] not in self.names:
            client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        else:
            with socket.create_connection(("127.0.0.1", self.names[words[1]])) as host:
                client.sendall(OPENED)
                other = threading.Thread(target=copy, args=(host, client), daemon=True)
                other.start()
                copy(client, host)
                other.join()


def head_of(client: socket.socket) -> str:
    """The head of a request."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < MAX_HEAD:
        data = client.recv(1)
        if not data:
            break
        head += data
    return head.decode()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Forward until the end."""
    with suppress(OSError):
        while data := source.recv(2**16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def company(
    names: Mapping[str, int] | None = None,
    authorization: str = "",
    tls: ssl.SSLContext | None = None,
) -> Iterator[CompanyProxy]:
    """Run a proxy that knows these names, over TLS if there is a context."""
    with listening() as (sock, accept):
        proxy = CompanyProxy(port_of(sock), names or {}, authorization)

        def serve(client: socket.socket) -> None:
            if tls is None:
                proxy.serve(client)
            else:
                with tls.wrap_socket(client, server_side=True) as secured:
                    proxy.serve(secured)

        accept(serve)
        yield proxy


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Run a proxy that gives every request one answer; yield its port."""

    def serve(client: socket.socket) -> None:
        head_of(client)
        client.sendall(answer)

    with listening() as (sock, accept):
        accept(serve)
        yield port_of(sock)


Serve = Callable[[socket.socket], None]


@contextmanager
def listening() -> Iterator[tuple[socket.socket, Callable[[Serve], None]]]:
    """Open a listening socket; yield it, and a function that starts to accept, in threads."""
    sock = listener()

    def one(client: socket.socket, serve: Serve) -> None:
        with client, suppress(OSError):
            serve(client)

    def accept(serve: Serve) -> None:
        with suppress(OSError):
            while True:
                client, _ = sock.accept()
                threading.Thread(target=one, args=(client, serve), daemon=True).start()

    def begin(serve: Serve) -> None:
        threading.Thread(target=accept, args=(serve,), daemon=True).start()

    try:
        yield sock, begin
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
