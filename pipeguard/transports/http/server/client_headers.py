"""Which of a client's HTTP headers go on to a server: what they carry is judged as messages are.

A login is not: `Authorization`, headers named for a credential; nor are cookies, session ids and
event ids that the server itself has given. Where we log in ourselves, the client's credentials are
none of the server's business, and are judged as the rest. What is stopped is one header; the
request goes on without it, but for a session id: without that there is no such session.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from time import monotonic

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from pipeguard.core.checks.credential_names import is_credential_name
from pipeguard.core.finding import Verdict
from pipeguard.core.rules.policy import Policy
from pipeguard.core.session.client_headers import judge_headers
from pipeguard.core.session.session import Session
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.headers import LAST_EVENT_ID, SESSION_ID, headers_to_server

MAX_GIVEN = 4096  # of cookies and session ids, and of event ids; remembered by 32 bytes each
MAX_REMEMBERED = 64  # sets of headers; each client sends its own with every request
_COMES_BACK = frozenset({SESSION_ID.lower(), LAST_EVENT_ID.lower()})  # what the server gave
_MIRRORS = "mcp-"
_Pairs = tuple[tuple[str, str], ...]


class ClientHeaders:
    """Picks from each request the headers that go on.

    Args:
        remote: the server.
        record: takes the verdict on headers, once for each set of them.
    """

    def __init__(self, remote: Remote, record: Callable[[Verdict], None]) -> None:
        self._remote = remote
        self._record = record
        self._count = 0
        self._judged: OrderedDict[_Pairs, tuple[Policy, frozenset[str]]] = OrderedDict()
        self._given = _Given()
        self._events = _Given()  # so that many of them do not drive out the others

    def passed(
        self, request: web.BaseRequest, session: Session, *, mirrors_body: bool = False
    ) -> CIMultiDict[str]:
        """The headers of one request that go on.

        Args:
            request: the client's.
            session: the conversation that it belongs to.
            mirrors_body: True where `Mcp-*` headers were compared with a body that is judged.
        """
        headers = headers_to_server(
            request.headers.items(), passes_credentials=self._remote.passes_credentials
        )
        pairs = tuple(
            (name, value)
            for name, given in headers.items()
            if (value := self._open_part(name, given, mirrors_body=mirrors_body))
        )
        for name in self._stopped(pairs, session) if pairs else ():
            kept = self._known_cookies(headers.getall(name)) if name == "cookie" else ""
            headers.popall(name)
            if kept:
                headers["Cookie"] = kept
        return headers

    def learn(self, answer: aiohttp.ClientResponse) -> None:
        """Remember the cookies and the session that the server gives: they come back to it."""
        for line in answer.headers.getall("Set-Cookie", ()):
            self._given.add(line.partition(";")[0])
        for session_id in answer.headers.getall(SESSION_ID, ()):
            self._given.add(session_id)

    def learn_event(self, event_id: str) -> None:
        """Remember the id of an event, from which a client may take up a stream."""
        self._events.add(event_id)

    def _open_part(self, name: str, value: str, *, mirrors_body: bool) -> str:
        """What is judged of a header; empty for nothing."""
        low = name.lower()
        if low in _COMES_BACK:
            return "" if value in self._given or value in self._events else value
        if mirrors_body and low.startswith(_MIRRORS):
            return ""
        if low == "cookie":
            parts = value.split(";")
            return "; ".join(p.strip() for p in parts if p not in self._given)
        is_login = low == "authorization" or is_credential_name(name.replace("-", "_"))
        return "" if is_login and self._remote.passes_credentials else value

    def _known_cookies(self, values: list[str]) -> str:
        parts = [part.strip() for value in values for part in value.split(";")]
        return "; ".join(part for part in parts if part in self._given)

    def _stopped(self, pairs: _Pairs, session: Session) -> frozenset[str]:
        """The names of the headers that do not go on, in small letters."""
        policy = session.guard.policy
        known = self._judged.get(pairs)
        if known is not None and known[0] is policy:
            self._judged.move_to_end(pairs)
            return known[1]
        self._count += 1
        event = f"{session.run}.h{self._count}"
        stopped, verdict = judge_headers(session.guard, pairs, monotonic(), event)
        if verdict.findings:
            self._record(verdict)
        self._judged[pairs] = policy, stopped
        while len(self._judged) > MAX_REMEMBERED:
            self._judged.popitem(last=False)
        return stopped


class _Given:
    """Values that the server gave, by their digests; of too many, the longest unused go."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def add(self, value: str) -> None:
        self._digests[_digest(value)] = None
        while len(self._digests) > MAX_GIVEN:
            self._digests.popitem(last=False)

    def __contains__(self, value: str) -> bool:
        digest = _digest(value)
        if digest in self._digests:
            self._digests.move_to_end(digest)
            return True
        return False


def _digest(value: str) -> bytes:
    return sha256(value.strip().encode("utf-8", "surrogateescape")).digest()
