"""Parts of messages of the conformance server: blocks of content, results, questions, answers."""

from typing import Any

Object = dict[str, Any]

# The smallest PNG and a WAV of one sample: one pixel, one moment of silence.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA=="


def text(value: str) -> Object:
    return {"type": "text", "text": value}


def text_result(value: str) -> Object:
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
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": 100}}


ROOTS: Object = {"method": "roots/list", "params": {}}
CONFIRM = form(
    "Please confirm",
    {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
)
USER_NAME = form("What is your name?", one_string("name"))


def input_required(state: str | None = None, /, **requests: Object) -> Object:
    """A result that asks the client for something before it can be complete."""
    result: Object = {"resultType": "input_required", "inputRequests": requests}
    return result if state is None else {**result, "requestState": state}


def answer_to(responses: Any, key: str) -> Object | None:
    """Return the client's answer to a question, if it is an object."""
    found = responses.input_responses.get(key) if responses.input_responses else None
    if found is None or isinstance(found, dict):
        return found
    plain: Object = found.model_dump(by_alias=True, mode="json", exclude_none=True)
    return plain


def has_form_answer(answer: Object | None, field: str) -> bool:
    return answer is not None and isinstance((answer.get("content") or {}).get(field), str)
