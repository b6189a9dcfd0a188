"""The few tools that an agent sees instead of all: their definitions, and the form of answers.

Only words: other modules find and call tools. Answers are plain text, because a model reads them,
and short, because it pays for each word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeguard.firewall.protocol.json_values import (
    JsonObject,
    JsonValue,
    Number,
    as_list,
    read_object,
    serialise,
)
from pipeguard.gateway.tools import CatalogTool, Effect

if TYPE_CHECKING:
    from pipeguard.gateway.search import SearchHit

RETRIEVE, DESCRIBE, MORE = "retrieve_tools", "describe_tool", "read_more"
CALLS: dict[str, Effect] = {
    "call_tool_read": Effect.READ,
    "call_tool_write": Effect.WRITE,
    "call_tool_destructive": Effect.DESTRUCTIVE,
}
CALL_OF = {effect: name for name, effect in CALLS.items()}
ORDER = (Effect.READ, Effect.WRITE, Effect.DESTRUCTIVE)
MOST_DESCRIPTION_CHARS = 240  # of a tool in a list of results: a sentence or two
MOST_PARAMETERS = 12  # of a signature; required ones come first
MOST_TYPE_CHARS = 60
RETRY_SECONDS = 5  # after which an agent asks again for a server that is starting

NO_FIT = (
    "Perhaps no tool does this: the nearest share few words with the request. If none of them"
    " fits, tell the user so instead of calling one."
)

OURS = "PipeGuard"  # the beginning of texts that are not a server's


class MenuLimits(NamedTuple):
    """The limits of the text that an agent reads at once.

    Attributes:
        top_k: tools that a search finds if the agent names no limit.
        tools_limit: the largest number of tools that it finds.
        response_chars: of the text of a result; the rest is kept for `read_more`.
    """

    top_k: int = 5
    tools_limit: int = 20
    response_chars: int = 20_000  # about 5,000 tokens

    def read_most(self, value: JsonValue) -> int | None:
        """The number of tools that a search may find; None if the value is invalid."""
        if value is None:
            return self.top_k
        try:
            most = int(str(value))
        except ValueError:
            return None
        return min(most, self.tools_limit) if most > 0 else None


DEFAULT_LIMITS = MenuLimits()


class ToolMode(StrEnum):
    """The way in which an agent gets to the tools."""

    SEARCH = "search"
    DIRECT = "direct"
    AUTO = "auto"


@lru_cache(maxsize=4)
def _read_menu(limits: MenuLimits) -> dict[str, JsonObject]:
    from pipeguard.gateway.neighbours import read_data  # its tables take a megabyte

    tools: dict[str, Any] = read_data("menu.yaml")
    tools[RETRIEVE]["inputSchema"]["properties"]["limit"] |= {
        "minimum": Number("1"),
        "maximum": Number(str(limits.tools_limit)),
        "default": Number(str(limits.top_k)),
    }
    return tools


def definitions(effects: Collection[str], limits: MenuLimits = DEFAULT_LIMITS) -> list[JsonValue]:
    """The menu as `tools/list` gives it.

    Args:
        effects: which tools the agent may call.
        limits: of a search.
    """
    tools = _read_menu(limits)
    return [tools[name] for name in tools if name not in CALLS or CALLS[name] in effects]


_EFFECT_WORDS = {
    Effect.READ: "only reads",
    Effect.WRITE: "creates, changes or sends something",
    Effect.DESTRUCTIVE: "deletes, overwrites, pays or runs code",
}


def results(hits: Sequence[tuple[CatalogTool, SearchHit]]) -> str:
    """Search results, as a model reads them."""
    shown = [_result(tool, hit) for tool, hit in hits]
    if all(hit.is_doubtful for _, hit in hits):
        shown.insert(0, NO_FIT)
    return "\n".join(shown)


def _result(tool: CatalogTool, hit: SearchHit) -> str:
    matched: dict[str, dict[str, None]] = {}  # by field, each once: as the tool has it
    for match in hit.why:
        word = match.word if match.is_same else f"{match.word} (for {match.asked!r})"
        matched.setdefault(match.field, {})[word] = None
    shown = "; ".join(f"{', '.join(words)} in {field}" for field, words in matched.items())
    why = f"  matched: {shown}" if shown else ""
    name, use = f"{tool.public}({signature(tool.definition)})", f"call with: {CALL_OF[tool.effect]}"
    if tool.kind == "skill":
        name = f"{tool.name}: a skill of the server {tool.server}"
        use = f"read the resource: {tool.public}"
    text = first_sentences(tool.description or tool.title, MOST_DESCRIPTION_CHARS)
    parts = [name, f"  {text}", f"  {use}", why]
    return "\n".join(part for part in parts if part.strip())


HELD = (
    "Held: the server has changed this tool. Calls are refused until the user approves the change;"
    " this is the definition from before."
)


def description(tool: CatalogTool) -> str:
    """All known facts about a tool."""
    lines = [
        f"{tool.public} (server {tool.server}; call with {CALL_OF[tool.effect]})",
        HELD if tool.is_held else "",
        tool.description or tool.title,
        input_schema(tool),
    ]
    output = tool.definition.get("outputSchema")
    if isinstance(output, dict):
        lines.append(f"Output schema: {serialise(output).decode()}")
    return "\n".join(line for line in lines if line)


def signature(definition: JsonObject) -> str:
    """Parameters and their types in one line, the required first: `path: string, head?: number`."""
    schema = read_object(definition, "inputSchema")
    properties = read_object(schema, "properties")
    needed = [name for name in as_list(schema.get("required")) if type(name) is str]
    names = [name for name in needed if name in properties]
    names += [name for name in properties if name not in needed]
    shown = [
        f"{name}{'' if name in needed else '?'}: {show_type(properties[name])}"
        for name in names[:MOST_PARAMETERS]
    ]
    return ", ".join([*shown, "…"] if len(names) > MOST_PARAMETERS else shown)


def show_type(schema: JsonValue) -> str:
    """The type of a parameter, in as few words as possible."""
    return "|".join(dict.fromkeys(_types(schema)))[:MOST_TYPE_CHARS] or "any"


def _types(schema: JsonValue, depth: int = 0) -> Iterator[str]:
    if not isinstance(schema, dict) or depth > 2:
        return
    values = schema.get("enum")
    if isinstance(values, list):
        yield from (serialise(value).decode() for value in values)
        return
    kind = schema.get("type")
    for name in kind if isinstance(kind, list) else [kind]:
        if name == "array":
            yield f"{'|'.join(_types(schema.get('items'), depth + 1)) or 'any'}[]"
        elif type(name) is str and name != "null":
            yield name
    for key in ("anyOf", "oneOf"):
        for branch in as_list(schema.get(key)):
            yield from _types(branch, depth + 1)


def first_sentences(text: str, most: int) -> str:
    """The beginning of a description on one line, cut at the end of a sentence or a word."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    cut = line[:most]
    end = max(cut.rfind(mark) for mark in (". ", "! ", "? "))
    return cut[: end + 1] if end > most // 3 else f"{cut.rpartition(' ')[0]} …"


def content(text: str) -> JsonObject:
    """A tool's result of one text (MCP 2025-11-25, server/tools, "Tool Result")."""
    return {"content": [{"type": "text", "text": text}]}


def failure(text: str) -> JsonObject:
    """An error of the gateway, which it names, because servers' errors arrive in the same form."""
    return {**content(f"{OURS}: {text}"), "isError": True}


def result_text(result: JsonObject) -> str:
    """The text of a tool's result; for blocks without text, their types."""
    texts = [
        str(block.get("text", f"[{block.get('type')}]"))
        for block in as_list(result.get("content"))
        if isinstance(block, dict)
    ]
    return "\n".join(texts)


def wrong_variant(tool: CatalogTool) -> str:
    """The answer to a call by too weak a variant, or by the tool's own name."""
    return (
        f"Nothing was called: use {CALL_OF[tool.effect]} instead, with the name {tool.public} and"
        f" its arguments, since it {_EFFECT_WORDS[tool.effect]}."
    )


def unknown_tool(name: str, near: Iterable[CatalogTool], *, has_search: bool) -> str:
    """The answer to a call of an unknown tool, with similar tools."""
    hint = f"There is no tool {name!r} here.{f' Search with {RETRIEVE}.' if has_search else ''}"
    shown = _usages(near)
    return "\n".join([f"{hint} Perhaps it is one of these:", *shown]) if shown else hint


def _usages(tools: Iterable[CatalogTool]) -> list[str]:
    return [f"{tool.public}({signature(tool.definition)})" for tool in tools]


def ask_again(servers: Iterable[str]) -> str:
    """The answer if servers are starting, with the time to wait."""
    names = list(servers)
    are = "is" if len(names) == 1 else "are"
    return f"{', '.join(names)} {are} still starting. Try again in {RETRY_SECONDS} seconds."


def unclear_call(tool: CatalogTool, variant: str, why: str) -> str:
    """The answer to a call whose arguments are unclear, with the remedy."""
    return "\n".join(
        [
            f"The call is not clear: {why}. Nothing was called.",
            f'{variant} takes {{"name": "{tool.public}", "arguments": {{…}}}}.',
            f"Usage: {tool.public}({signature(tool.definition)})",
            input_schema(tool),
        ]
    )


def own_usage(name: str) -> str:
    """The way to call a tool of the menu; empty for any other."""
    tool = _read_menu(DEFAULT_LIMITS).get(name)
    return "" if tool is None else f"Usage: {name}({signature(tool)})"


def several_tools(name: str, tools: Iterable[CatalogTool]) -> str:
    """The answer to a call with an ambiguous name."""
    return "\n".join(
        [f"{name!r} is the name of several tools. Take one of these:", *_usages(tools)]
    )


def input_schema(tool: CatalogTool) -> str:
    """A tool's input schema, on one line."""
    return f"Input schema: {serialise(read_object(tool.definition, 'inputSchema')).decode()}"
