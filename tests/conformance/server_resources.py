"""The resources and prompts of the conformance server."""

import json
from typing import Any

import mcp_types as types  # type: ignore[import-not-found, unused-ignore]
from mcp import MCPError  # type: ignore[import-not-found, unused-ignore]

from tests.conformance.messages import (
    PNG,
    Object,
    answer_to,
    embedded,
    form,
    has_form_answer,
    image,
    input_required,
    one_string,
    text,
)
from tests.conformance.server_tools import WATCHED

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
            answer = answer_to(params, "user_context")
            if answer is None or not has_form_answer(answer, "context"):
                question = form("What context should the prompt use?", one_string("context"))
                return input_required(user_context=question)
            return {"messages": [user(text(f"Context: {answer['content']['context']}"))]}
    raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name}.")


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
