"""A server with everything that the official conformance suite asks for: `server.py stdio|http`.

Made with the official Python SDK, whose low-level server it is, and run in the environment of
tests/requirements-servers.txt. The suite itself says what each tool has to be called and to answer
(`conformance list`, and the descriptions of its scenarios). `http` takes a free port of loopback
and prints its address on a line.
"""

import asyncio
import json
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio  # type: ignore[import-not-found, unused-ignore]
import mcp_types as types  # type: ignore[import-not-found, unused-ignore]
import uvicorn  # type: ignore[import-not-found, unused-ignore]
from mcp import MCPError  # type: ignore[import-not-found, unused-ignore]
from mcp.server.caching import CacheHint  # type: ignore[import-not-found, unused-ignore]
from mcp.server.lowlevel.server import Server  # type: ignore[import-not-found, unused-ignore]
from mcp.server.request_state import (  # type: ignore[import-not-found, unused-ignore]
    RequestStateBoundary,
    RequestStateSecurity,
)
from mcp.server.stdio import stdio_server  # type: ignore[import-not-found, unused-ignore]
from mcp.server.streamable_http import (  # type: ignore[import-not-found, unused-ignore]
    EventMessage,
    EventStore,
)
from mcp.server.subscriptions import (  # type: ignore[import-not-found, unused-ignore]
    InMemorySubscriptionBus,
    ListenHandler,
)
from mcp.shared.subscriptions import (  # type: ignore[import-not-found, unused-ignore]
    PromptsListChanged,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp_types.version import (  # type: ignore[import-not-found, unused-ignore]
    MODERN_PROTOCOL_VERSIONS,
)

warnings.simplefilter("ignore")  # the newest revision deprecates what the older ones ask for

Object = dict[str, Any]

STEP_SECONDS = 0.05  # between two notifications, as the suite asks
RETRY_MS = 100  # after which a client comes back to a stream that was closed
# The smallest PNG and a WAV of one sample: one pixel, one moment of silence.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=="
WATCHED = "test://watched-resource"
NOT_DECLARED = -32021  # MissingRequiredClientCapability (2026-07-28 basic/index)
SCHEMA_2020 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Call:
    """A call of a tool: its arguments, all its params, and the SDK's context of the request."""

    context: Any
    arguments: Object
    params: Any


Tool = Callable[[Call], Awaitable[Object]]


def text(value: str) -> Object:
    return {"type": "text", "text": value}


def said(value: str) -> Object:
    return {"content": [text(value)]}


def image() -> Object:
    return {"type": "image", "data": PNG, "mimeType": "image/png"}


def embedded(uri: str, kind: str, value: str) -> Object:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": value}}


def one_string(name: str) -> Object:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


def form(message: str, schema: Object) -> Object:
    return {
        "method": "elicitation/create",
        "params": {"message": message, "requestedSchema": schema},
    }


def sample(prompt: str) -> Object:
    messages = [{"role": "user", "content": text(prompt)}]
    return {
        "method": "sampling/createMessage",
        "params": {"messages": messages, "maxTokens": 100},
    }


ROOTS: Object = {"method": "roots/list", "params": {}}
CONFIRM = form(
    "Please confirm",
    {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
)
USER_NAME = form("What is your name?", one_string("name"))


def asked(state: str | None = None, /, **requests: Object) -> Object:
    """A result that asks the client for something before it can be complete."""
    result: Object = {"resultType": "input_required", "inputRequests": requests}
    return result if state is None else {**result, "requestState": state}


class Memory(EventStore):  # type: ignore[misc, unused-ignore]
    """The events of all streams, so that a client can go on where it was cut off."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        position = int(last_event_id)
        if not 0 < position <= len(self.events):
            return None
        stream = self.events[position - 1][0]
        for number, (owner, message) in enumerate(self.events[position:], position + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


bus = InMemorySubscriptionBus()
tools: dict[str, tuple[Object, Tool]] = {}
EMPTY: Object = {"type": "object", "properties": {}}


def tool(schema: Object = EMPTY, name: str | None = None) -> Callable[[Tool], Tool]:
    """Offer a function under the name that the suite calls; clients read its docstring."""

    def offered(function: Tool) -> Tool:
        title = name or f"test_{function.__name__}"
        listed = {"name": title, "description": function.__doc__ or title, "inputSchema": schema}
        tools[title] = (listed, function)
        return function

    return offered


# --- tools that only answer -----------------------------------------------------------------


@tool()
async def simple_text(call: Call) -> Object:
    """Answers with a text."""
    return said("This is a simple text response for testing.")


@tool()
async def image_content(call: Call) -> Object:
    """Answers with an image."""
    return {"content": [image()]}


@tool()
async def audio_content(call: Call) -> Object:
    """Answers with a sound."""
    return {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}


@tool()
async def embedded_resource(call: Call) -> Object:
    """Answers with a resource."""
    inner = embedded(
        "test://embedded-resource", "text/plain", "This is an embedded resource content."
    )
    return {"content": [inner]}


@tool()
async def multiple_content_types(call: Call) -> Object:
    """Answers with one block of each kind."""
    data = json.dumps({"test": "data", "value": 123})
    inner = embedded("test://mixed-content-resource", "application/json", data)
    return {"content": [text("Multiple content types test:"), image(), inner]}


@tool()
async def error_handling(call: Call) -> Object:
    """Fails."""
    return {**said("This tool intentionally returns an error for testing"), "isError": True}


@tool(SCHEMA_2020, "json_schema_2020_12_tool")
async def every_keyword(call: Call) -> Object:
    """Takes what a schema full of keywords allows."""
    return said("ok")


@tool(
    {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    }
)
async def custom_header(call: Call) -> Object:
    """Has an argument that travels in a header too."""
    return said(f"region: {call.arguments.get('region')}")


# --- tools that tell something on the way ---------------------------------------------------


async def log(context: Any, message: str) -> None:
    await context.session.send_log_message(
        level="info", data=message, logger="conformance", related_request_id=context.request_id
    )


@tool()
async def tool_with_logging(call: Call) -> Object:
    """Logs three lines."""
    for message in ("Tool execution started", "Tool processing data"):
        await log(call.context, message)
        await anyio.sleep(STEP_SECONDS)
    await log(call.context, "Tool execution completed")
    return said("logged")


@tool()
async def logging_tool(call: Call) -> Object:
    """Logs one line, if the request asks for logs."""
    await log(call.context, "asked for")
    return said("logged")


@tool()
async def tool_with_progress(call: Call) -> Object:
    """Goes on in three steps."""
    for done in (0, 50, 100):
        await call.context.session.report_progress(done, 100, f"{done} of 100")
        await anyio.sleep(STEP_SECONDS)
    return said("done")


@tool()
async def reconnection(call: Call) -> Object:
    """Closes its stream before it answers."""
    await log(call.context, "before")
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
    await anyio.sleep(4 * STEP_SECONDS)
    await log(call.context, "after")
    return said("Reconnection test completed")


@tool()
async def trigger_tool_change(call: Call) -> Object:
    """Says that the tools changed."""
    await bus.publish(ToolsListChanged())
    return said("told")


@tool()
async def trigger_prompt_change(call: Call) -> Object:
    """Says that the prompts changed."""
    await bus.publish(PromptsListChanged())
    return said("told")


@tool()
async def trigger_resource_update(_call: Call) -> Object:
    """Says that the watched resource changed."""
    await bus.publish(ResourceUpdated(uri=WATCHED))
    return said("told")


cancelled: dict[str, anyio.Event] = {}


@tool(one_string("key"))
async def hang(call: Call) -> Object:
    """Goes on until the call is cancelled."""
    await call.context.session.report_progress(1, 2, "hanging")
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled.setdefault(call.arguments["key"], anyio.Event()).set()
        raise
    return said("never")


@tool(one_string("key"))
async def learn_of_cancel(call: Call) -> Object:
    """Waits until the call with this key was cancelled."""
    await cancelled.setdefault(call.arguments["key"], anyio.Event()).wait()
    return said("it was cancelled")


# --- tools that ask the client, as before 2026-07-28 ----------------------------------------


@tool(one_string("prompt"))
async def sampling(call: Call) -> Object:
    """Asks the client's model."""
    answer = await call.context.session.create_message(
        messages=[
            types.SamplingMessage.model_validate(
                {"role": "user", "content": text(call.arguments["prompt"])}
            )
        ],
        max_tokens=100,
        related_request_id=call.context.request_id,
    )
    return said(f"LLM response: {answer.content.text}")


async def elicited(context: Any, message: str, schema: Object) -> Object:
    answer = await context.session.elicit_form(message, schema, context.request_id)
    content = json.dumps(answer.content)
    return said(f"Elicitation completed: action={answer.action}, content={content}")


@tool(one_string("message"))
async def elicitation(call: Call) -> Object:
    """Asks the user."""
    fields = {name: {"type": "string", "description": name} for name in ("username", "email")}
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return await elicited(call.context, call.arguments["message"], schema)


@tool()
async def elicitation_sep1034_defaults(call: Call) -> Object:
    """Asks the user, with a default for every kind of value."""
    states = ["active", "inactive", "pending"]
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": states, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await elicited(call.context, "Who are you?", {"type": "object", "properties": fields})


@tool()
async def elicitation_sep1330_enums(call: Call) -> Object:
    """Asks the user to choose, in each way in which a choice can be written."""
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
    names = ["Option One", "Option Two", "Option Three"]
    legacy = {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": names}
    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": legacy,
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await elicited(call.context, "Choose.", {"type": "object", "properties": fields})


# --- tools that ask within a result, as from 2026-07-28 -------------------------------------


def given(responses: Any, key: str) -> Object | None:
    """What the client answers to a question, if that is an object."""
    found = responses.input_responses.get(key) if responses.input_responses else None
    if found is None or isinstance(found, dict):
        return found
    plain: Object = found.model_dump(by_alias=True, mode="json", exclude_none=True)
    return plain


def has_form_answer(answer: Object | None, field: str) -> bool:
    return answer is not None and isinstance((answer.get("content") or {}).get(field), str)


@tool()
async def input_required_result_elicitation(call: Call) -> Object:
    """Asks for a name."""
    answer = given(call.params, "user_name")
    if answer is None or not has_form_answer(answer, "name"):
        return asked(user_name=USER_NAME)
    return said(f"Hello, {answer['content']['name']}!")


@tool()
async def input_required_result_sampling(call: Call) -> Object:
    """Asks the model for a capital."""
    answer = given(call.params, "capital_question")
    if answer is None:
        return asked(capital_question=sample("What is the capital of France?"))
    return said(str(answer["content"]["text"]))


@tool()
async def input_required_result_list_roots(call: Call) -> Object:
    """Asks for the roots."""
    answer = given(call.params, "client_roots")
    if answer is None:
        return asked(client_roots=ROOTS)
    return said(f"roots: {json.dumps(answer['roots'])}")


@tool()
async def input_required_result_request_state(call: Call) -> Object:
    """Keeps its state with the client."""
    if given(call.params, "confirm") is None or call.params.request_state != "round one":
        return asked("round one", confirm=CONFIRM)
    return said("state-ok")


@tool()
async def input_required_result_tampered_state(call: Call) -> Object:
    """Keeps its state with the client, sealed."""
    if given(call.params, "confirm") is None:
        return asked("sealed", confirm=CONFIRM)
    return said("state-ok")


@tool()
async def input_required_result_multiple_inputs(call: Call) -> Object:
    """Asks three things at once."""
    wanted = {
        "user_name": USER_NAME,
        "greeting": sample("Generate a greeting"),
        "client_roots": ROOTS,
    }
    if any(given(call.params, key) is None for key in wanted):
        return asked("all three", **wanted)
    return said("All three answered.")


@tool()
async def input_required_result_multi_round(call: Call) -> Object:
    """Asks twice, one after the other."""
    if call.params.request_state == "round two" and given(call.params, "step2") is not None:
        return said("Both steps done.")
    if call.params.request_state == "round one" and given(call.params, "step1") is not None:
        question = form("Step 2: What is your favorite color?", one_string("color"))
        return asked("round two", step2=question)
    return asked("round one", step1=form("Step 1: What is your name?", one_string("name")))


@tool()
async def input_required_result_capabilities(call: Call) -> Object:
    """Asks only for what the client can do."""
    able = call.context.session.client_capabilities
    wanted: dict[str, Object] = {}
    if able is not None and able.sampling is not None:
        wanted["sampled"] = sample("Anything")
    if able is not None and able.elicitation is not None:
        wanted["elicited"] = USER_NAME
    return asked(**wanted) if wanted else said("The client can do neither.")


@tool()
async def missing_capability(call: Call) -> Object:
    """Needs a client that samples."""
    able = call.context.session.client_capabilities
    if able is None or able.sampling is None:
        data: Object = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(NOT_DECLARED, "This tool needs the client's sampling.", data)
    return said("able")


@tool()
async def streaming_elicitation(call: Call) -> Object:
    """Asks for a name, after it has gone on a little."""
    await call.context.session.report_progress(1, 2, "half way")
    return await input_required_result_elicitation(call)


# --- resources and prompts ------------------------------------------------------------------

RESOURCES: dict[str, Object] = {
    "test://static-text": {
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    WATCHED: {"mimeType": "text/plain", "text": "Watched."},
}
TEMPLATE = "test://template/{id}/data"


def contents(content: Object) -> Any:
    return types.ReadResourceResult.model_validate({"contents": [content]})


async def read(_context: Any, params: Any) -> Any:
    uri = str(params.uri)
    head, _, tail = TEMPLATE.partition("{id}")
    if uri in RESOURCES:
        return contents({"uri": uri, **RESOURCES[uri]})
    if uri.startswith(head) and uri.endswith(tail):
        number = uri.removeprefix(head).removesuffix(tail)
        data = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        return contents({"uri": uri, "mimeType": "application/json", "text": json.dumps(data)})
    raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": uri})


def user(content: Object) -> Object:
    return {"role": "user", "content": content}


PROMPTS: dict[str, tuple[str, ...]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


async def prompt(_context: Any, params: Any) -> Object:
    given_arguments = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return {"messages": [user(text("This is a simple prompt for testing."))]}
        case "test_prompt_with_arguments":
            pairs = ", ".join(f"{name}='{given_arguments[name]}'" for name in ("arg1", "arg2"))
            return {"messages": [user(text(f"Prompt with arguments: {pairs}"))]}
        case "test_prompt_with_embedded_resource":
            uri = given_arguments["resourceUri"]
            inner = embedded(uri, "text/plain", "Embedded resource content for testing.")
            follows = text("Please process the embedded resource above.")
            return {"messages": [user(inner), user(follows)]}
        case "test_prompt_with_image":
            return {"messages": [user(image()), user(text("Please analyze the image above."))]}
        case "test_input_required_result_prompt":
            answer = given(params, "user_context")
            if answer is None or not has_form_answer(answer, "context"):
                question = form("What context should the prompt use?", one_string("context"))
                return asked(user_context=question)
            return {"messages": [user(text(f"Context: {answer['content']['context']}"))]}
    raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name}.")


# --- the server -----------------------------------------------------------------------------


async def list_tools(_context: Any, _params: Any) -> Any:
    return types.ListToolsResult.model_validate({"tools": [listed for listed, _ in tools.values()]})


async def call(context: Any, params: Any) -> Object:
    if params.name not in tools:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name}.")
    return await tools[params.name][1](Call(context, params.arguments or {}, params))


async def list_resources(_context: Any, _params: Any) -> Any:
    listed = [
        {"uri": uri, "name": uri, "description": uri, "mimeType": content["mimeType"]}
        for uri, content in RESOURCES.items()
    ]
    return types.ListResourcesResult.model_validate({"resources": listed})


async def list_templates(_context: Any, _params: Any) -> Any:
    listed = [{"uriTemplate": TEMPLATE, "name": "data", "description": "Data by id."}]
    return types.ListResourceTemplatesResult.model_validate({"resourceTemplates": listed})


async def list_prompts(_context: Any, _params: Any) -> Any:
    listed = [
        {
            "name": name,
            "description": name,
            "arguments": [{"name": one, "description": one, "required": True} for one in needed],
        }
        for name, needed in PROMPTS.items()
    ]
    return types.ListPromptsResult.model_validate({"prompts": listed})


async def complete(_context: Any, _params: Any) -> Object:
    return {"completion": {"values": ["testing", "tested"], "total": 2, "hasMore": False}}


async def accept(_context: Any, _params: Any) -> Any:
    return types.EmptyResult()


def schema_of(name: str) -> Object | None:
    found = tools.get(name)
    return found[0]["inputSchema"] if found else None


def whole(handler: Callable[[Any, Any], Awaitable[Object]]) -> Callable[[Any, Any], Any]:
    """Say of a result that it is complete, in the revision that asks for it."""

    async def handled(context: Any, params: Any) -> Object:
        result = await handler(context, params)
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return {"resultType": "complete", **result}
        return result

    return handled


def made() -> Any:
    cached = CacheHint(ttl_ms=60_000, scope="private")
    lists = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
    cacheable: Any = (*lists, "resources/read", "server/discover")
    server = Server(
        "conformance",
        version="1.0.0",
        cache_hints=dict.fromkeys(cacheable, cached),
        get_tool_input_schema=schema_of,
        on_list_tools=list_tools,
        on_call_tool=whole(call),
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read,
        on_subscribe_resource=accept,
        on_unsubscribe_resource=accept,
        on_subscriptions_listen=ListenHandler(bus),
        on_list_prompts=list_prompts,
        on_get_prompt=whole(prompt),
        on_completion=whole(complete),
        on_set_logging_level=accept,
    )
    sealed = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name)
    server.middleware.append(sealed)
    return server


async def over_stdio() -> None:
    server = made()
    async with stdio_server() as (source, sink):
        await server.run(source, sink, server.create_initialization_options())


async def over_http() -> None:
    app = made().streamable_http_app(event_store=Memory(), retry_interval=RETRY_MS)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(over_http() if sys.argv[1] == "http" else over_stdio())
