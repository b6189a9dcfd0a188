"""Sends a client's request to a server in the era that both speak, or translates between the two.

A server without handshakes asks the client for input in a result, and the client repeats its
request with the answers; after a handshake, the server sends requests of its own instead (MCP
2026-07-28, basic/patterns/mrtr; 2025-11-25, client/*). It announces nothing unasked either, so the
gateway listens for the subscriptions of a client with a handshake, and subscribes again at a server
that was restarted.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import NamedTuple

from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object, serialise
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import INVALID_PARAMS, Declined, refusal, with_handshake, write_message
from pipeguard.gateway.input_calls import InputCalls, may_ask
from pipeguard.gateway.leg import Leg
from pipeguard.transports.http.client.shared_settings import SUBSCRIBE, UNSUBSCRIBE
from pipeguard.transports.http.request_headers import find_mirrored
from pipeguard.transports.tasks import Tasks, backoff

UPDATED = "notifications/resources/updated"
MOST_ROUNDS = 8  # of questions in the course of one request
MOST_SUBSCRIPTIONS = 256  # of one client, to single resources; the oldest are dropped


class LegSubscriptions:
    """The subscriptions of one client with a handshake.

    Args:
        client: the subscriber.
    """

    def __init__(self, client: GatewayClient) -> None:
        self._client = client
        self._tasks = Tasks()
        self._resources: OrderedDict[tuple[str, str], asyncio.Task[None]] = OrderedDict()

    def follow(self, leg: Leg) -> None:
        """Follow changed lists, as a client with a handshake expects without asking."""
        lists = {"prompts": "promptsListChanged", "resources": "resourcesListChanged"}
        wanted: JsonObject = {
            flag: True for name, flag in lists.items() if leg.offers(name, "listChanged")
        }
        if wanted:
            self._tasks.begin(leg.listen(wanted))

    def answer(self, leg: Leg, method: str, uri: JsonValue) -> JsonObject:
        """Answer `resources/subscribe` or `resources/unsubscribe`, for a server without handshakes.

        Raises:
            Declined: it names no resource.
        """
        if type(uri) is not str:
            raise Declined(INVALID_PARAMS, f"{method} names no resource")
        self.note_answer(leg, method, uri, {"result": {}})
        return {"result": {}}

    def note_answer(self, leg: Leg, method: str, uri: JsonValue, answer: JsonObject) -> None:
        """Note a server's answer to `resources/subscribe` or `resources/unsubscribe`."""
        if type(uri) is not str or "error" in answer:
            return
        key = leg.server, uri
        self._drop(key)
        if method == SUBSCRIBE:
            while len(self._resources) >= MOST_SUBSCRIPTIONS:
                self._drop(next(iter(self._resources)))
            self._resources[key] = self._tasks.begin(self._hold(leg, uri))

    async def close(self) -> None:
        """End all of them."""
        await self._tasks.end()

    def _drop(self, key: tuple[str, str]) -> None:
        task = self._resources.pop(key, None)
        if task is not None:
            task.cancel()

    async def _hold(self, leg: Leg, uri: str) -> None:
        """Stay subscribed, until the server itself ends the subscription."""
        while True:
            if leg.is_stateless:
                await leg.listen({"resourceSubscriptions": [uri]})
            else:
                await leg.ended.wait()
            if leg.is_open:
                break
            leg = await self._again(leg.server)
            if leg.is_stateless or "error" not in await leg.request(SUBSCRIBE, {"uri": uri}):
                # It may have changed unnoticed in between.
                leg.tell_client([serialise(write_message(UPDATED, {"uri": uri}))])
            elif leg.is_open:
                break
        del self._resources[leg.server, uri]  # one that was dropped was cancelled

    async def _again(self, server: str) -> Leg:
        """The server, once it is back."""
        pauses = backoff()
        while True:
            await asyncio.sleep(next(pauses))
            with suppress(Unavailable):
                return await self._client.leg(server, self._client.opening)


class Router(NamedTuple):
    """Sends the requests of one client.

    Args:
        client: the client.
        input_calls: calls during which a server asks the client.
        subscriptions: of a client with a handshake.
    """

    client: GatewayClient
    input_calls: InputCalls
    subscriptions: LegSubscriptions

    async def send(
        self,
        server: str,
        request: ClientRequest,
        params: JsonObject,
        definition: JsonObject | None = None,
    ) -> JsonObject:
        """Forward a request, and return the answer.

        Args:
            server: its name.
            request: the client's.
            params: as the server is to read them, before translation to its era.
            definition: of the tool that it calls.

        Raises:
            Unavailable: the server does not answer.
            Declined: the request continues a call that does not exist.
        """
        leg = await self.client.leg(server, request.opening)
        if leg.is_stateless and not leg.has_listed_tools and find_mirrored(definition or {}):
            await leg.list_tools()  # so that the channel learns the header parameters, too
            leg = await self.client.leg(server, request.opening)  # the earlier one may have ended
        if request.opening.is_stateless and not leg.is_stateless and may_ask(request):
            return await self.input_calls.ask(leg.server, request, params)
        translates = leg.is_stateless and not request.opening.is_stateless
        if translates and request.method in (SUBSCRIBE, UNSUBSCRIBE):
            return self.subscriptions.answer(leg, request.method, params.get("uri"))
        answer = await self.client.ask(leg, request, params)
        if request.method in (SUBSCRIBE, UNSUBSCRIBE):
            self.subscriptions.note_answer(leg, request.method, params.get("uri"), answer)
        if translates:
            answer = await self._with_answers(leg, request, params, answer)
            return with_handshake(request.method, answer)
        return answer

    async def _with_answers(
        self, leg: Leg, request: ClientRequest, params: JsonObject, answer: JsonObject
    ) -> JsonObject:
        """Ask a client for the input that a result requires, and repeat its request with it."""
        for _ in range(MOST_ROUNDS):
            result = answer.get("result")
            if not isinstance(result, dict) or result.get("resultType") != "input_required":
                return answer
            responses: JsonObject = {}
            for key, question in as_object(result.get("inputRequests")).items():
                response = await self._response(leg, question)
                if response is None:
                    why = "the client does not answer what the server asks for"
                    return refusal(codes.PEER_BROKE_PROTOCOL, why)
                responses[key] = response
            params = {**params, "inputResponses": responses}
            if "requestState" in result:
                params["requestState"] = result["requestState"]
            answer = await self.client.ask(leg, request, params)
        return refusal(codes.PEER_BROKE_PROTOCOL, "the server keeps asking for more input")

    async def _response(self, leg: Leg, question: JsonValue) -> JsonObject | None:
        """The client's answer; None if it gives none."""
        asked = as_object(question)
        method, params = asked.get("method"), asked.get("params")
        if type(method) is not str or not self.client.opening.answers(method, params):
            return None
        result = (
            await self.client.question(leg, method, params if isinstance(params, dict) else None)
        ).get("result")
        return result if isinstance(result, dict) else None
