"""Client's HTTP headers: forwarded to a server if allowed, and compared with the body.

Their text is judged like a message's. A login is not judged: `Authorization`, headers named for a
credential; nor are cookies, session ids and event ids that the server itself gave. If we log in
ourselves, the client's credentials are not meant for the server, and are judged like the rest. A
header with a finding is dropped, and the request is forwarded without it; but a request without its
session id has no session. Headers that repeat a body (MCP 2026-07-28) are compared with it, or
written for a new body.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import Verdict
from pipeguard.firewall.policy import Policy
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.session import client_headers, replies
from pipeguard.firewall.session.session import Session
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.client.upstream import Remote
from pipeguard.transports.http.headers import LAST_EVENT_ID, SESSION_ID, headers_to_server
from pipeguard.transports.http.server.admission import RefusalReason, RequestRefused
from pipeguard.transports.http.server.sessions import Sessions, digest
from pipeguard.transports.judging import in_thread
from pipeguard.transports.pump import take_event

HEADER_MISMATCH = -32020  # MCP 2026-07-28, basic/transports/streamable-http
MAX_GIVEN = 4096  # cookies and session ids, and as many event ids; each takes 32 bytes
MAX_REMEMBERED = 64  # sets of headers; each client sends its own with every request
_GIVEN_BY_SERVER = frozenset({SESSION_ID.lower(), LAST_EVENT_ID.lower()})
_LENGTH = frozenset({"Content-Length", "content-length"})
_SESSION = _LENGTH | {SESSION_ID, SESSION_ID.lower()}
_Pairs = tuple[tuple[str, str], ...]
_Key = tuple[frozenset[str], _Pairs]  # names that were compared, and headers


class ClientHeaders:
    """Selects the headers of each request that are forwarded.

    Args:
        remote: the server.
        record: takes the verdict on headers, once for each set of them.
    """

    def __init__(self, remote: Remote, record: Callable[[Verdict], None]) -> None:
        self._remote = remote
        self._record = record
        self._count = 0
        self._selected: dict[_Key, tuple[Policy, CIMultiDict[str]]] = {}
        self._given = _GivenValues()
        self.given_events = _GivenValues()  # apart: there are many of them

    async def select(
        self, request: web.BaseRequest, session: Session, compared: frozenset[str] = frozenset()
    ) -> CIMultiDict[str]:
        """The headers of a request that are forwarded.

        Args:
            request: the client's.
            session: the conversation that it belongs to.
            compared: names of headers that were compared with a body that is judged.
        """
        sent, policy = request.headers, session.guard.policy
        session_id = sent.get(SESSION_ID, "")
        per_call = _SESSION if session_id in self._given else _LENGTH
        key = compared, tuple([item for item in sent.items() if item[0] not in per_call])
        known = None if LAST_EVENT_ID in sent else self._selected.get(key)
        if known is None or known[0] is not policy:
            known = self._selected[key] = policy, await self._select(key, session)
            while len(self._selected) > MAX_REMEMBERED:
                del self._selected[next(iter(self._selected))]
        headers = known[1].copy()
        if per_call is _SESSION:
            headers[SESSION_ID] = session_id
        return headers

    async def _select(self, key: _Key, session: Session) -> CIMultiDict[str]:
        compared, sent = key
        headers = headers_to_server(sent, passes_credentials=self._remote.passes_credentials)
        pairs = tuple(
            (name, text)
            for name, value in headers.items()
            if name.lower() not in compared and (text := self._text_to_judge(name, value))
        )
        if not pairs:
            return headers
        self._count += 1
        event = client_headers.HeadersSent(pairs, monotonic(), f"{session.run}.h{self._count}")
        size = sum(len(name) + len(text) for name, text in pairs)
        verdict = await in_thread(size, partial(take_event, session, event, self._record))
        if verdict.findings:
            self._record(verdict)
        for name in {name.lower() for name, _ in pairs} - verdict.headers:
            parts = [part.strip() for line in headers.popall(name) for part in line.split(";")]
            given = [part for part in parts if name == "cookie" and part in self._given]
            if given:
                headers["Cookie"] = "; ".join(given)
        return headers

    def learn(self, answer: aiohttp.ClientResponse) -> None:
        """Remember the cookies and the session id that the server gives: clients send them back."""
        cookies = [line.partition(";")[0] for line in answer.headers.getall("Set-Cookie", ())]
        for value in (*cookies, *answer.headers.getall(SESSION_ID, ())):
            if value not in self._given:
                self._given.add(value)
                # Until now it was judged with the headers that it came in.
                for key in [k for k in self._selected if any(value in text for _, text in k[1])]:
                    del self._selected[key]

    def _text_to_judge(self, name: str, value: str) -> str:
        """The part of a header that is judged; may be empty."""
        low = name.lower()
        if low in _GIVEN_BY_SERVER:
            return "" if value in self._given or value in self.given_events else value
        if low == "cookie":
            parts = value.split(";")
            return "; ".join(part.strip() for part in parts if part not in self._given)
        is_login = low == "authorization" or is_credential_name(name.replace("-", "_"))
        return "" if is_login and self._remote.passes_credentials else value


class _GivenValues:
    """Values that the server gave, as digests; of too many, the least recently used are dropped."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def add(self, value: str) -> None:
        self._digests[digest(value.strip())] = None
        while len(self._digests) > MAX_GIVEN:
            self._digests.popitem(last=False)

    def __contains__(self, value: str) -> bool:
        given = digest(value.strip())
        if given in self._digests:
            self._digests.move_to_end(given)
        return given in self._digests


def read_one_message(body: bytes) -> Message | None:
    """The message in a body; None without one, because the Session refuses the body."""
    with suppress(Refusal):
        message = parse(body)
        return message if isinstance(message, Message) else None
    return None


def check_headers(
    sessions: Sessions,
    headers: MultiMapping[str],
    message: Message,
    *,
    who: str = "",
    all_of_them: bool,
) -> frozenset[str]:
    """Check that headers agree with the body (2026-07-28).

    Args:
        sessions: know the tools, and so which parameters have headers.
        headers: of the request.
        message: its body.
        who: the name of the client's token, or empty.
        all_of_them: False if the server sees the headers, too, and asks for missing ones.

    Returns:
        The names, in lower case, of the headers that were compared and agree with the body.

    Raises:
        RequestRefused: they differ; with -32020.
    """
    mirrored = _mirrored_parameters(sessions, message, who)
    wrong = request_headers.disagreement(message.value, headers, mirrored, all_required=all_of_them)
    if wrong is not None:
        why = f"Header mismatch: {wrong}"
        frame = replies.error(message.id_token, HEADER_MISMATCH, why)
        raise RequestRefused(RefusalReason.MISMATCH, 400, why, frame=frame)
    return frozenset(map(str.lower, request_headers.list_repeating(message.value, mirrored)))


def headers_repeating(sessions: Sessions, frame: bytes) -> dict[str, str]:
    """The headers that repeat a message which was changed."""
    message = read_one_message(frame)
    if message is None:
        return {}
    return request_headers.make_headers(message.value, _mirrored_parameters(sessions, message))


def _mirrored_parameters(
    sessions: Sessions, message: Message, who: str = ""
) -> request_headers.Mirrored:
    """The headers that repeat parameters of the called tool, with the parameters' paths."""
    name = message.params.get("name")
    is_call = message.method == "tools/call" and type(name) is str
    return sessions.mirrored_headers(str(name), who) if is_call else {}
