"""Sends a client's request to a server in the era that both speak, or translates between the two.

A server without handshakes asks the client for input in a result, and the client repeats its
request with the answers; after a handshake, the server sends requests of its own instead (MCP
2026-07-28, basic/patterns/mrtr; 2025-11-25, client/*). It announces nothing unasked either, so the
gateway listens for the subscriptions of a client with a handshake, and subscribes again at a server
that was restarted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from secrets import token_urlsafe
from typing import NamedTuple

from pipeguard.firewall.protocol import codes, ids
from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    as_object,
    read_object,
    serialise,
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.peers import CAPABILITIES
from pipeguard.gateway.client_request import ClientRequest, Unavailable
from pipeguard.gateway.conversation import GatewayClient
from pipeguard.gateway.eras import (
    INVALID_PARAMS,
    Declined,
    Opening,
    refusal,
    with_handshake,
    without_envelope,
    write_message,
)
from pipeguard.gateway.leg import Leg, LegListener
from pipeguard.transports.http.client.shared_settings import SUBSCRIBE, UNSUBSCRIBE
from pipeguard.transports.http.request_headers import find_mirrored
from pipeguard.transports.tasks import Tasks, backoff

MOST_CALLS = 32  # at once, of one conversation: clients with the same token share one
MOST_IDLE = 2  # legs to one server that wait for another call
WAITING_SECONDS = 600.0  # for a person to answer
STATE_BYTES = 24
METHODS = frozenset({"tools/call", "prompts/get", "resources/read"})  # their results may ask
# A client's declarations of what it answers: client/sampling, client/elicitation.
_MODES = {"sampling": ("tools", "context"), "elicitation": ("form", "url"), "roots": ()}


def may_ask(request: ClientRequest) -> bool:
    """True if the client can be asked during a request."""
    return request.method in METHODS and bool(_find_declared(request.opening))


def _find_declared(opening: Opening) -> JsonObject:
    """The capabilities of a client that are needed for questions."""
    declared: JsonObject = {}
    for name, modes in _MODES.items():
        detail = opening.capabilities.get(name)
        if isinstance(detail, dict):
            declared[name] = {mode: {} for mode in modes if mode in detail}
    return declared


class _CallLeg(LegListener):
    """A leg for one call at a time, on which a server works for longer than a client's request.

    Args:
        key: of the legs that another such call may use.
        declared: the kinds of questions that the client answers.
        heard: called with the server's other messages.

    Attributes:
        leg: to the server.
        essence: the part that all requests of the call share.
        request: the client's latest one.
        answer: resolved by the server's answer.
        questions: the server's, by their names for the client.
        changed: set once there is a question or the answer.
        timer: ends the call if its client does not come back.
    """

    leg: Leg
    essence: JsonObject
    request: ClientRequest
    answer: asyncio.Task[JsonObject]

    def __init__(
        self, key: tuple[str, str], declared: JsonObject, heard: Callable[[Leg, Message], None]
    ) -> None:
        self.key = key
        self._declared = declared
        self._heard = heard
        self._count = 0
        self.questions: dict[str, Message] = {}
        self.changed = asyncio.Event()
        self.timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks()
        self.is_busy = False

    def receive_request(self, leg: Leg, message: Message) -> None:
        """Keep a server's question; decline it if no call is open or the client cannot answer."""
        if self.is_busy and CAPABILITIES.get(message.method or "") in self._declared:
            self._count += 1
            self.questions[f"question-{self._count}"] = message
            self.changed.set()
        else:
            self._tasks.begin(leg.decline(message, "the client does not answer this"))

    def receive_notification(self, leg: Leg, message: Message) -> None:
        """Drop a question that the server cancels; pass other notifications on."""
        if message.method != "notifications/cancelled":
            self._heard(leg, message)
            return
        token = ids.write_id(message.params.get("requestId"))
        for key, question in list(self.questions.items()):
            if question.id_token == token:
                del self.questions[key]

    def lose_server(self, leg: Leg) -> None:
        """Note the server's end: its call is answered."""
        self.questions.clear()


class InputCalls:
    """The calls of one conversation during which servers may ask.

    Args:
        client: the client that calls.
        heard: called with the servers' unsolicited messages.
    """

    def __init__(self, client: GatewayClient, heard: Callable[[Leg, Message], None]) -> None:
        self._client = client
        self._heard = heard
        self._calls: set[_CallLeg] = set()
        self._waiting: dict[str, _CallLeg] = {}  # for the client, by the state that it repeats
        self._idle: dict[tuple[str, str], list[_CallLeg]] = {}
        self._beginning = 0
        self._tasks = Tasks()

    async def ask(self, server: str, request: ClientRequest, params: JsonObject) -> JsonObject:
        """Forward a call, or the client's answers during it.

        Returns:
            The server's answer, or a result that asks the client.

        Raises:
            Unavailable: the server does not answer.
            Declined: no such call waits, or too many do.
        """
        state = request.params.get("requestState")
        if state is None:
            call = await self._begin(server, request, params)
        else:
            call = await self._continue_call(state, _essence(server, request, params), request)
        return await self._next(call)

    async def close(self) -> None:
        """Abandon all calls, and hang up."""
        await asyncio.gather(*(self._give_up(call) for call in list(self._calls)))
        idle = (call.leg for calls in self._idle.values() for call in calls)
        await asyncio.gather(*(leg.close() for leg in idle))
        await self._tasks.end()

    # --- a call -----------------------------------------------------------------------------

    async def _begin(self, server: str, request: ClientRequest, params: JsonObject) -> _CallLeg:
        if len(self._calls) + self._beginning >= MOST_CALLS:
            raise Declined(codes.OVERLOADED, "PipeGuard: too many calls are waiting for a server")
        self._beginning += 1
        try:
            call = await self._open(server, request.opening)
        finally:
            self._beginning -= 1
        call.essence, call.request = _essence(server, request, params), request
        call.is_busy = True
        self._calls.add(call)
        request.is_unsent = True
        asking = call.leg.request(
            request.method,
            without_envelope(params),
            lambda number: self._client.begin_call(call.request, call.leg, number),
            with_progress=request.progress is not None,
        )
        call.answer = asyncio.ensure_future(asking)
        call.answer.add_done_callback(lambda _: call.changed.set())
        return call

    async def _open(self, server: str, opening: Opening) -> _CallLeg:
        declared = _find_declared(opening)
        key = server, serialise(declared).decode()
        while calls := self._idle.get(key):
            call = calls.pop()
            if call.leg.is_open:
                return call
        call = _CallLeg(key, declared, self._heard)
        said = Opening({**declared, **opening.extensions}, opening.client_info)
        call.leg = await self._client.open_leg(server, said, call)
        call.leg.asks_in_results = True
        return call

    async def _next(self, call: _CallLeg) -> JsonObject:
        """The server's answer, or its first question."""
        while not call.answer.done():
            try:
                await call.changed.wait()
            except asyncio.CancelledError:
                await self._give_up(call)
                raise
            call.changed.clear()
            if call.questions and not call.answer.done():
                return {"result": self._input_required(call)}
        self._forget(call)
        answer, call.is_busy = call.answer, False
        del call.answer, call.essence, call.request  # large ones are not kept with an idle leg
        idle = self._idle.setdefault(call.key, [])
        if call.leg.is_open and not call.questions and len(idle) < MOST_IDLE:
            idle.append(call)
        else:
            self._tasks.begin(call.leg.close())
        return answer.result()

    def _input_required(self, call: _CallLeg) -> JsonObject:
        state = token_urlsafe(STATE_BYTES)
        self._waiting[state] = call
        loop = asyncio.get_running_loop()
        call.timer = loop.call_later(WAITING_SECONDS, self._expire, state)
        return {
            "resultType": "input_required",
            "inputRequests": {key: _show_question(each) for key, each in call.questions.items()},
            "requestState": state,
        }

    async def _continue_call(
        self, state: JsonValue, essence: JsonObject, request: ClientRequest
    ) -> _CallLeg:
        """Forward the client's answers to a server."""
        call = self._waiting.get(state) if type(state) is str else None
        if call is None or call.essence != essence:
            raise Declined(INVALID_PARAMS, "requestState belongs to no waiting call")
        del self._waiting[str(state)]
        if call.timer is not None:
            call.timer.cancel()
        number, call.request = call.request.number, request
        if number is not None:
            self._client.begin_call(request, call.leg, number)
        for key, response in read_object(request.params, "inputResponses").items():
            question = call.questions.get(key)
            if question is not None and isinstance(response, dict):
                del call.questions[key]
                answer: JsonObject = {"jsonrpc": "2.0", "id": question.value["id"]}
                await call.leg.send({**answer, "result": response})
        if call.questions:
            call.changed.set()  # the client is asked again
        return call

    # --- the end of a call --------------------------------------------------------------------

    def _expire(self, state: str) -> None:
        call = self._waiting.pop(state, None)
        if call is not None:
            self._tasks.begin(self._give_up(call))

    async def _give_up(self, call: _CallLeg) -> None:
        """Abandon a call; hanging up tells the server."""
        if call not in self._calls:
            return
        self._forget(call)
        call.answer.cancel()
        await call.leg.close()

    def _forget(self, call: _CallLeg) -> None:
        self._calls.discard(call)
        if call.timer is not None:
            call.timer.cancel()
        if call.request.number is not None:
            self._client.end_call(call.leg, call.request.number, {})


def _essence(server: str, request: ClientRequest, params: JsonObject) -> JsonObject:
    """The common part of all requests of one call."""
    plain = without_envelope(params)
    plain.pop("_meta", None)
    return {"server": server, "method": request.method, "params": plain}


def _show_question(question: Message) -> JsonObject:
    params = question.params
    shown: JsonObject = {name: value for name, value in params.items() if name != "_meta"}
    return {"method": question.method, "params": shown}


# --- every request, to its server -----------------------------------------------------

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
            for key, question in read_object(result, "inputRequests").items():
                response = await self._response(leg, question)
                if response is None:
                    return refusal(
                        codes.PEER_BROKE_PROTOCOL,
                        "the client does not answer what the server asks for",
                    )
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
