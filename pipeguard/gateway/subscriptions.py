"""`subscriptions/listen`, which the gateway answers itself (MCP 2026-07-28, server/utilities).

Servers' announcements, each in its era, are forwarded to the clients that listen to them, under the
ids of their own requests. A server without handshakes is listened to for each of them; another
announces what it chooses, and is subscribed to for single resources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.ids import read_id, write_id
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_list,
    read_object,
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.methods import ACKNOWLEDGED, SUBSCRIPTION_META
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import INVALID_PARAMS, Declined, find_meta, write_message
from pipeguard.gateway.leg import Leg
from pipeguard.gateway.merged import Merged
from pipeguard.gateway.router import UPDATED
from pipeguard.transports.http.client.shared_settings import SUBSCRIBE, UNSUBSCRIBE
from pipeguard.transports.tasks import Tasks, backoff

SETTLING_SECONDS = 5.0  # for which an acknowledgement waits for servers
MOST_LISTENING = 64  # at once, of one conversation: clients with the same token share one
MOST_URIS = 256  # of one subscription
_KINDS = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}
_TOOLS = "toolsListChanged"
# Servers' announcements to clients. The catalogue reports changes of tools.
_METHODS = {
    f"notifications/{kind}/list_changed": name for name, kind in _KINDS.items() if kind != "tools"
}


class _Subscription(NamedTuple):
    """The subjects that one request listens to.

    Attributes:
        request: the client's.
        flags: the lists whose changes it subscribes to, as in `notifications`.
        uris: addresses as shown, each with its server and its address there.
        over: set once it ends.
    """

    request: ClientRequest
    flags: frozenset[str]
    uris: dict[str, tuple[str, str]]
    over: asyncio.Event

    def covers(self, uri: JsonValue) -> bool:
        """True for a resource that it names, or a resource below one."""
        return type(uri) is str and any(
            uri == own or uri.startswith(own.rstrip("/") + "/") for own in self.uris
        )


class Subscriptions:
    """The subscriptions of one conversation, and its servers' announcements.

    Receives the messages on legs for requests without a handshake (`LegListener`).

    Args:
        client: the subscriber.
        servers: returns the servers that the client may use, with their offers.
        addresses: of resources.
    """

    def __init__(
        self, client: GatewayClient, servers: Callable[[], dict[str, JsonObject]], addresses: Merged
    ) -> None:
        self._client = client
        self._servers = servers
        self._addresses = addresses
        self._open: dict[str, _Subscription] = {}  # by the id of the request
        self._upstream: dict[tuple[Leg, str], _Follower] = {}
        self._tasks = Tasks()

    # --- for the client ---------------------------------------------------------------------

    async def listen(self, request: ClientRequest) -> JsonObject:
        """Answer `subscriptions/listen`: once the gateway ends.

        Raises:
            Declined: it does not say what it listens to, or too many listen.
        """
        if len(self._open) >= MOST_LISTENING:
            raise Declined(
                codes.OVERLOADED, f"PipeGuard: there are {MOST_LISTENING} subscriptions already"
            )
        subscription = await self._read(request)
        self._open[request.token] = subscription
        following = Tasks()
        try:
            await self._follow_all(subscription, following)
            granted = _list_wanted(subscription.flags, subscription.uris)
            self._say(subscription, ACKNOWLEDGED, {"notifications": granted})
            await subscription.over.wait()
        finally:
            if self._open.get(request.token) is subscription:  # else its id is another one's
                del self._open[request.token]
            await following.end()
        meta: JsonObject = {SUBSCRIPTION_META: read_id(request.token)}
        return {"result": {"resultType": "complete", "_meta": meta}}

    def finish(self) -> None:
        """End all of them."""
        for subscription in self._open.values():
            subscription.over.set()

    async def close(self) -> None:
        """Cancel pending messages to servers."""
        await self._tasks.end()

    async def _read(self, request: ClientRequest) -> _Subscription:
        wanted = request.params.get("notifications")
        if not isinstance(wanted, dict):
            raise Declined(INVALID_PARAMS, "subscriptions/listen has no notifications")
        flags = frozenset(name for name in _KINDS if wanted.get(name) is True)
        addresses: dict[str, tuple[str, str]] = {}
        for uri in as_list(wanted.get("resourceSubscriptions"))[:MOST_URIS]:
            if type(uri) is str:
                with suppress(Declined):
                    addresses[uri] = await self._addresses.find_home(request, uri)
        return _Subscription(request, flags, addresses, asyncio.Event())

    def _say(self, subscription: _Subscription, method: str, params: JsonObject) -> None:
        meta = {**find_meta(params), SUBSCRIPTION_META: read_id(subscription.request.token)}
        self._client.say(write_message(method, {**params, "_meta": meta}))

    # --- the servers --------------------------------------------------------------------------

    async def _follow_all(self, subscription: _Subscription, following: Tasks) -> None:
        """Listen to all relevant servers; wait for them, but not for long."""
        ready = []
        for server, described in self._servers().items():
            offered = read_object(described, "capabilities")
            flags = {name for name in subscription.flags if _KINDS[name] in offered} - {_TOOLS}
            uris = tuple(uri for home, uri in subscription.uris.values() if home == server)
            if flags or uris:
                is_ready = asyncio.Event()
                ready.append(asyncio.ensure_future(is_ready.wait()))
                follower = _Follower(subscription, server, frozenset(flags), uris, is_ready)
                following.begin(self._follow(follower))
        if ready:
            _, late = await asyncio.wait(ready, timeout=SETTLING_SECONDS)
            for waiting in late:
                waiting.cancel()

    async def _follow(self, follower: _Follower) -> None:
        """Listen to a server, and again after a restart."""
        for pause in backoff():
            if not follower.uris and not self._servers().get(follower.server):
                follower.is_ready.set()  # asleep, or gone: a stopped server changes nothing
                await asyncio.sleep(pause)
                continue
            with suppress(Unavailable):
                leg = await self._client.leg(follower.server, follower.subscription.request.opening)
                listens = self._listen if leg.is_stateless else self._subscribe
                if not await listens(leg, follower):
                    follower.is_ready.set()
                    return
            await asyncio.sleep(pause)

    async def _listen(self, leg: Leg, follower: _Follower) -> bool:
        """Listen to a server without handshakes; False if it does not offer that."""
        numbers: list[Number] = []

        def began(number: Number) -> None:
            numbers.append(number)
            self._upstream[leg, number] = follower

        try:
            answer = await leg.listen(_list_wanted(follower.flags, follower.uris), began)
        finally:
            for number in numbers:
                self._upstream.pop((leg, number), None)
        return "error" not in answer or not leg.is_open

    async def _subscribe(self, leg: Leg, follower: _Follower) -> bool:
        """Follow a server's announcements, with subscriptions to its single resources."""
        try:
            if leg.offers("resources", "subscribe"):
                for uri in follower.uris:
                    await leg.request(SUBSCRIBE, {"uri": uri})
            follower.is_ready.set()
            await leg.ended.wait()
        finally:
            for uri in follower.uris:
                if leg.is_open and not self._is_wanted(follower.server, uri):
                    self._tasks.begin(leg.request(UNSUBSCRIBE, {"uri": uri}))
        return True

    def _is_wanted(self, server: str, uri: str) -> bool:
        return any((server, uri) in open_.uris.values() for open_ in self._open.values())

    # --- from servers: LegListener --------------------------------------------------------------

    def receive_request(self, leg: Leg, message: Message) -> None:
        """Decline a server's request on a leg of no single call: no client can be asked."""
        self._tasks.begin(leg.decline(message, "the client does not answer this"))

    def receive_notification(self, leg: Leg, message: Message) -> None:
        """Forward a server's notification to the subscriptions that it concerns."""
        body = message.params
        method = message.method or ""
        if method == "notifications/progress":
            self._client.receive_notification(leg, message)
        elif method == "notifications/message":
            is_wanted = self._client.wants_log(leg, str(body.get("level")))
            if is_wanted and leg.server in self._servers():
                self._client.say(message.value)
        elif leg.is_stateless:
            self._announce(leg, method, body)
        elif method == UPDATED or method in _METHODS:
            self._spread(leg.server, method, body, list(self._open.values()))

    def lose_server(self, leg: Leg) -> None:
        """Ignore a server's end: its followers wait for that, too."""

    def announce_lists(self, kinds: frozenset[str]) -> None:
        """Announce that the gateway's offer has changed."""
        for name, kind in _KINDS.items():
            for subscription in list(self._open.values()):
                if kind in kinds and name in subscription.flags:
                    self._say(subscription, f"notifications/{kind}/list_changed", {})

    def _announce(self, leg: Leg, method: str, body: JsonObject) -> None:
        """Forward a message of a server without handshakes to its subscription."""
        token = write_id(find_meta(body).get(SUBSCRIPTION_META))
        follower = self._upstream.get((leg, token or ""))
        if follower is not None and method == ACKNOWLEDGED:
            follower.is_ready.set()
        elif follower is not None and (method == UPDATED or method in _METHODS):
            self._spread(leg.server, method, body, [follower.subscription])

    def _spread(
        self, server: str, method: str, body: JsonObject, subscriptions: list[_Subscription]
    ) -> None:
        if server not in self._servers():
            return  # the client may use it no more
        if method == UPDATED:
            body = {**body, "uri": self._addresses.uri_shown(server, body.get("uri"))}
        for subscription in subscriptions:
            if _METHODS.get(method) in subscription.flags or (
                method == UPDATED and subscription.covers(body["uri"])
            ):
                self._say(subscription, method, body)


class _Follower(NamedTuple):
    """The subjects at one server for one subscription.

    Attributes:
        subscription: the client's.
        server: its name.
        flags: the lists whose changes it may announce.
        uris: its own addresses of resources.
        is_ready: set once it listens, or never will.
    """

    subscription: _Subscription
    server: str
    flags: frozenset[str]
    uris: tuple[str, ...]
    is_ready: asyncio.Event


def _list_wanted(flags: Iterable[str], uris: Collection[str]) -> JsonObject:
    """The notifications of a subscription, as `subscriptions/listen` names them."""
    wanted: JsonObject = dict.fromkeys(sorted(flags), True)
    if uris:
        wanted["resourceSubscriptions"] = list(uris)
    return wanted
