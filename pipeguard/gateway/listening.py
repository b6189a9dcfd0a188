"""The gateway's address: one endpoint for all servers, and one for each single server.

`/mcp`, `/sse` and a WebSocket lead to the gateway, `/servers/NAME/mcp` and the like to one server.
Knows no frames.
"""

import asyncio
import signal
from collections.abc import Callable
from functools import partial
from typing import Protocol

from aiohttp import web

from pipeguard.config.options import WrapOptions
from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.firewall.protocol.json_values import JsonObject
from pipeguard.gateway.answers import dial
from pipeguard.gateway.front import FrontJudge, FrontSessions, ShownJudge, ShownSessions
from pipeguard.gateway.gateway import Gateway
from pipeguard.gateway.member import GatewayServer
from pipeguard.gateway.menu import ToolMode
from pipeguard.gateway.tool_offer import has_tool
from pipeguard.log import say
from pipeguard.runtime.http import ListeningPlace
from pipeguard.state.tokens import TokenReader
from pipeguard.transports.channel import AsyncChannel
from pipeguard.transports.http import request_headers
from pipeguard.transports.http.client.task_owners import SharingClient
from pipeguard.transports.http.headers import JSON
from pipeguard.transports.http.server.admission import WHO, RefusalReason, RequestRefused
from pipeguard.transports.http.server.backend import MCP, Backend, Route
from pipeguard.transports.http.server.callers import IssuedTokens
from pipeguard.transports.http.server.listener import OtherEndpoint, Readiness
from pipeguard.transports.http.server.sealed_sessions import SealedSessions
from pipeguard.transports.judging import to_frame
from pipeguard.transports.tasks import Tasks

ALONE = "alone"
SERVERS, METRICS, TOOLS = "/servers", "/metrics", "/tools"
# Source: prometheus.io/docs/instrumenting/exposition_formats.
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PageEndpoint(OtherEndpoint, Protocol):
    """The page on which a person decides."""

    async def open(self, origin: str, may_decide: Callable[[bytes], bool]) -> None:
        """Offer the page at an address, also to tokens whose SHA-256 may decide."""

    async def close(self) -> None:
        """End it, after sending pending data."""


class GatewayListener:
    """Answers clients at an address.

    Args:
        options: of listening, as `wrap` has them.
        gateway: the gateway behind the address.
        sessions: of clients.
        judge: checks the protocol of their frames, and records refusals.
        stored: the tokens in the store.
        sign_ins: of an issuer.
        page: the page for a person's decisions; offered to this machine only.
    """

    def __init__(
        self,
        options: WrapOptions,
        gateway: Gateway,
        sessions: FrontSessions,
        *,
        judge: FrontJudge,
        stored: TokenReader,
        sign_ins: IssuedTokens,
        page: PageEndpoint | None = None,
    ) -> None:
        """Check the options, and take the address.

        Raises:
            PipeGuardError: an option is wrong, or the address is in use.
        """
        self._gateway = gateway
        self._sessions, self._judge = sessions, judge
        self._place = ListeningPlace(
            options, sessions.guard.policy.limits.frame_bytes, stored, sign_ins
        )
        self._place.take(sessions.owners)
        self._may_decide = stored.may_decide
        self._page = page if is_loopback(self._place.admission.host) else None
        if page is not None and self._page is None:
            say("no page at /ui: other machines reach this address. Open it with: pipeguard ui")
        self._mounted: dict[str, tuple[GatewayServer | None, Backend]] = {}
        self._closing = Tasks()

    def is_given(self, who: str) -> bool:
        """True for a token from the options, not from the store."""
        tokens = self._place.admission.tokens
        return tokens is not None and tokens.has_whole(who)

    async def run(self, ended: asyncio.Future[int]) -> None:
        """Listen until a signal."""
        gateway, place = self._gateway, self._place
        everything = place.mount(
            self._sessions, self._judge, partial(dial, gateway), sealed=self._seal_endpoint(MCP)
        )
        self._mounted[""] = None, everything
        for endpoint in everything.endpoints:
            place.routes.add(map(self._once_settled, endpoint.routes))
        place.routes.add([Route("GET", METRICS, self._metrics), Route("GET", TOOLS, self._tools)])
        self.follow()

        def readiness() -> Readiness:
            why_out = "" if gateway.link is None else gateway.link.why_out()
            is_ready = not (ended.done() or gateway.starting() or why_out)
            return Readiness(is_ready, why_out or gateway.describe_absent())

        origin = await place.listen(readiness, self._judge.record_refusal, page=self._page)
        if self._page is not None:
            await self._page.open(origin, self._may_decide)
        has_balancer = await ended == signal.SIGTERM
        await place.listener.drain(place.drain_seconds if has_balancer else 0.0)
        if self._page is not None:
            await self._page.close()
        await asyncio.gather(*(mounted.close() for _, mounted in self._mounted.values()))
        await self._closing.end()
        await place.close()

    async def _metrics(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Figures for Prometheus."""
        if not self._gateway.may_see_all(request.get(WHO, "")):
            raise RequestRefused(
                RefusalReason.SCOPE, 403, "only a token without limits may read the figures"
            )
        if not self._gateway.telemetry.has_text:
            needed = "the extra otel, and the variable OTEL_METRICS_EXPORTER=prometheus"
            raise RequestRefused(RefusalReason.NOWHERE, 404, f"figures need {needed}")
        text = await self._gateway.telemetry.text()
        return web.Response(body=text, headers={"Content-Type": METRICS_TYPE})

    async def _tools(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """The tools that a client may call, and why its servers lack some, as JSON."""
        await self._gateway.settle()
        access = self._gateway.access(request.get(WHO, ""))
        servers = access.servers("tools/call")
        missing = self._gateway.describe_missing()
        tools = access.filter_tools(self._gateway.catalog)
        body: JsonObject = {
            "servers": [*servers],
            "missing": {name: why for name, why in missing.items() if name in servers},
            "tools": [tool.to_json() for tool in tools],
        }
        return web.Response(body=await to_frame(body), content_type=JSON)

    def follow(self) -> None:
        """Keep an endpoint for each current server."""
        members = self._gateway.members
        for name, (server, mounted) in list(self._mounted.items()):
            if name and members.get(name) is not server:
                self._place.routes.remove(f"{SERVERS}/{name}")
                del self._mounted[name]
                self._closing.begin(mounted.close())
        for name, member in members.items():
            if name not in self._mounted:
                self._mount_server(name, member)

    def _mount_server(self, name: str, member: GatewayServer) -> None:
        run, place = member.run, self._place
        sessions = ShownSessions(
            run.guard,
            f"{run.name}.{ALONE}",  # no event of theirs has the name of one of a gateway's client
            place.most,
            place.idle_seconds,
            self._sessions.owners,
        )
        sessions.name_token = run.name_token
        sessions.record = member.judge.record
        sessions.find_memory = lambda who: self._gateway.find_memory(who, "")
        sessions.find_tape = partial(run.recording.find_tape, run.guard.name)
        sessions.waiting_room = self._gateway.waiting_room
        sessions.shown = member.settings.shown_tools(partial(has_tool, run.guard))
        member.relist_own = sessions.relist

        # Each of its routes has asked who may.
        async def dial_server(who: str, _session: str) -> AsyncChannel:
            return await member.dial(SharingClient(who or object()))

        shown = sessions.shown
        judge = member.judge if shown.is_everything else ShownJudge(member.judge, shown)
        sealed = self._seal_endpoint(f"{SERVERS}/{name} {run.guard.name}")
        mounted = place.mount(sessions, judge, dial_server, sealed=sealed)
        for endpoint in mounted.endpoints:
            routes = (self._for_whom_may(name, route) for route in endpoint.routes)
            place.routes.add(routes, f"{SERVERS}/{name}")
        self._mounted[name] = member, mounted

    def _seal_endpoint(self, endpoint: str) -> SealedSessions | None:
        """The sessions of an endpoint, if there may be other replicas."""
        link = self._gateway.link
        if link is None:
            return None
        from pipeguard.gateway.replica_sessions import ReplicaSessions  # with a database's library

        return SealedSessions(ReplicaSessions(link), endpoint)

    def _once_settled(self, route: Route) -> Route:
        """A route that takes calls once the tools are known, by which headers are checked."""
        if not route.has_body:
            return route

        async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
            by_definition = self._gateway.mode is not ToolMode.SEARCH
            if by_definition and request_headers.NAME in request.headers:
                await self._gateway.settle()
            return await route.answer(request, body)

        return route._replace(answer=answer)

    def _for_whom_may(self, name: str, route: Route) -> Route:
        """A server's own route, hidden from tokens that may not use the server."""

        async def answer(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
            if not self._gateway.may_use_alone(request.get(WHO, ""), name):
                is_read_only = self._gateway.is_read_only
                why = "the gateway is read-only" if is_read_only else "this token has limits"
                raise RequestRefused(RefusalReason.SCOPE, 403, f"{why}: use {MCP}")
            return await route.answer(request, body)

        access = self._gateway.access
        return route._replace(
            answer=answer, is_for=lambda who: access(who).may_use(name, "tools/call")
        )
