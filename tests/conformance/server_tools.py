"""The tools of the conformance server, under the names that the suite calls."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio  # type: ignore[import-not-found, unused-ignore]
import mcp_types as types  # type: ignore[import-not-found, unused-ignore]
from mcp import MCPError  # type: ignore[import-not-found, unused-ignore]
from mcp.server.subscriptions import InMemorySubscriptionBus  # type: ignore[import-not-found, unused-ignore]
from mcp.shared.subscriptions import (  # type: ignore[import-not-found, unused-ignore]
    PromptsListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

from tests.conformance.messages import (
    CONFIRM,
    ROOTS,
    USER_NAME,
    WAV,
    Object,
    answer_to,
    embedded,
    form,
    has_form_answer,
    image,
    input_required,
    one_string,
    sample,
    text,
    text_result,
)

STEP_SECONDS = 0.05  # between two notifications, as the suite asks
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
    return text_result("This is a simple text response for testing.")


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
    return {**text_result("This tool intentionally returns an error for testing"), "isError": True}


@tool(SCHEMA_2020, "json_schema_2020_12_tool")
async def every_keyword(call: Call) -> Object:
    """Takes what a schema full of keywords allows."""
    return text_result("ok")


@tool(
    {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        "required": ["region"],
    }
)
async def custom_header(call: Call) -> Object:
    """Has an argument that travels in a header too."""
    return text_result(f"region: {call.arguments.get('region')}")


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
    return text_result("logged")


@tool()
async def logging_tool(call: Call) -> Object:
    """Logs one line, if the request asks for logs."""
    await log(call.context, "asked for")
    return text_result("logged")


@tool()
async def tool_with_progress(call: Call) -> Object:
    """Goes on in three steps."""
    for done in (0, 50, 100):
        await call.context.session.report_progress(done, 100, f"{done} of 100")
        await anyio.sleep(STEP_SECONDS)
    return text_result("done")


@tool()
async def reconnection(call: Call) -> Object:
    """Closes its stream before it answers."""
    await log(call.context, "before")
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
    await anyio.sleep(4 * STEP_SECONDS)
    await log(call.context, "after")
    return text_result("Reconnection test completed")


@tool()
async def trigger_tool_change(call: Call) -> Object:
    """Says that the tools changed."""
    await bus.publish(ToolsListChanged())
    return text_result("told")


@tool()
async def trigger_prompt_change(call: Call) -> Object:
    """Says that the prompts changed."""
    await bus.publish(PromptsListChanged())
    return text_result("told")


@tool()
async def trigger_resource_update(_call: Call) -> Object:
    """Says that the watched resource changed."""
    await bus.publish(ResourceUpdated(uri=WATCHED))
    return text_result("told")


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
    return text_result("never")


@tool(one_string("key"))
async def learn_of_cancel(call: Call) -> Object:
    """Waits until the call with this key was cancelled."""
    await cancelled.setdefault(call.arguments["key"], anyio.Event()).wait()
    return text_result("it was cancelled")


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
    return text_result(f"LLM response: {answer.content.text}")


async def elicited(context: Any, message: str, schema: Object) -> Object:
    answer = await context.session.elicit_form(message, schema, context.request_id)
    content = json.dumps(answer.content)
    return text_result(f"Elicitation completed: action={answer.action}, content={content}")


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


@tool()
async def input_required_result_elicitation(call: Call) -> Object:
    """Asks for a name."""
    answer = answer_to(call.params, "user_name")
    if answer is None or not has_form_answer(answer, "name"):
        return input_required(user_name=USER_NAME)
    return text_result(f"Hello, {answer['content']['name']}!")


@tool()
async def input_required_result_sampling(call: Call) -> Object:
    """Asks the model for a capital."""
    answer = answer_to(call.params, "capital_question")
    if answer is None:
        return input_required(capital_question=sample("What is the capital of France?"))
    return text_result(str(answer["content"]["text"]))


@tool()
async def input_required_result_list_roots(call: Call) -> Object:
    """Asks for the roots."""
    answer = answer_to(call.params, "client_roots")
    if answer is None:
        return input_required(client_roots=ROOTS)
    return text_result(f"roots: {json.dumps(answer['roots'])}")


@tool()
async def input_required_result_request_state(call: Call) -> Object:
    """Keeps its state with the client."""
    if answer_to(call.params, "confirm") is None or call.params.request_state != "round one":
        return input_required("round one", confirm=CONFIRM)
    return text_result("state-ok")


@tool()
async def input_required_result_tampered_state(call: Call) -> Object:
    """Keeps its state with the client, sealed."""
    if answer_to(call.params, "confirm") is None:
        return input_required("sealed", confirm=CONFIRM)
    return text_result("state-ok")


@tool()
async def input_required_result_multiple_inputs(call: Call) -> Object:
    """Asks three things at once."""
    wanted = {
        "user_name": USER_NAME,
        "greeting": sample("Generate a greeting"),
        "client_roots": ROOTS,
    }
    if any(answer_to(call.params, key) is None for key in wanted):
        return input_required("all three", **wanted)
    return text_result("All three answered.")


@tool()
async def input_required_result_multi_round(call: Call) -> Object:
    """Asks twice, one after the other."""
    if call.params.request_state == "round two" and answer_to(call.params, "step2") is not None:
        return text_result("Both steps done.")
    if call.params.request_state == "round one" and answer_to(call.params, "step1") is not None:
        question = form("Step 2: What is your favorite color?", one_string("color"))
        return input_required("round two", step2=question)
    return input_required("round one", step1=form("Step 1: What is your name?", one_string("name")))


@tool()
async def input_required_result_capabilities(call: Call) -> Object:
    """Asks only for what the client can do."""
    able = call.context.session.client_capabilities
    wanted: dict[str, Object] = {}
    if able is not None and able.sampling is not None:
        wanted["sampled"] = sample("Anything")
    if able is not None and able.elicitation is not None:
        wanted["elicited"] = USER_NAME
    return input_required(**wanted) if wanted else text_result("The client can do neither.")


@tool()
async def missing_capability(call: Call) -> Object:
    """Needs a client that samples."""
    able = call.context.session.client_capabilities
    if able is None or able.sampling is None:
        data: Object = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(NOT_DECLARED, "This tool needs the client's sampling.", data)
    return text_result("able")


@tool()
async def streaming_elicitation(call: Call) -> Object:
    """Asks for a name, after it has gone on a little."""
    await call.context.session.report_progress(1, 2, "half way")
    return await input_required_result_elicitation(call)


async def list_tools(_context: Any, _params: Any) -> Any:
    return types.ListToolsResult.model_validate({"tools": [listed for listed, _ in tools.values()]})


async def call(context: Any, params: Any) -> Object:
    if params.name not in tools:
        raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name}.")
    return await tools[params.name][1](Call(context, params.arguments or {}, params))
