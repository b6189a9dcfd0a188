"""The pages of tools: the search results, each tool's definition and calls, and a trial call."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from aiohttp import web
from markupsafe import Markup

from pipeguard.clients.entries import ServerEntry
from pipeguard.clients.machine import Machine
from pipeguard.clients.masking import command_line
from pipeguard.firewall.protocol.json_values import JsonObject, as_object, serialise
from pipeguard.gateway import menu
from pipeguard.isolation import short_path
from pipeguard.state.activity import tool_calls
from pipeguard.state.audit import AuditEntry, parse_findings
from pipeguard.state.pins import Store
from pipeguard.state.review import StoredDefinition, pin_history
from pipeguard.ui import cards, tool_pins
from pipeguard.ui.decisions import NothingDoneError
from pipeguard.ui.headings import describe_reason
from pipeguard.ui.page import (
    PAGE,
    OpeningAnswer,
    Request,
    Response,
    ask_number,
    draw,
    read_form,
    with_store,
)
from pipeguard.ui.servers import sort_entries
from pipeguard.ui.text import foreign, show_own
from pipeguard.ui.tool_pins import StoredTool, address
from pipeguard.unicode.display import quote_name, visible

PATH = "/tools"
MOST_ROWS = 200  # of the list, that are drawn
MOST_PARAMETERS = 40  # that have a field of their own
DAY_SECONDS = 86_400.0
CLIENT = "pipeguard-ui"  # as the audit has it
QUERY_CHARS = 300
LIMIT_SECONDS = 30.0  # for the server's start and the call
NOTE_CHARS = 300
UNSEEN = Markup("It passed when a client first listed it. No person looked.")
WHOLE = "whole"  # the field with all arguments as JSON


async def _tools(request: Request) -> Response:
    query = request.query.get("q", "").strip()[:QUERY_CHARS]
    server = request.query.get("server", "")
    tools = await with_store(request, tool_pins.stored_tools)
    search = None
    if query:
        find = request.app[PAGE].finder.search
        search = await asyncio.to_thread(find, tools, query, tool_pins.MOST_HITS)
    shown = [tool for tool in tools if server in {"", tool.server}]
    shown.sort(key=lambda tool: not tool.pin.waits)  # stable: pending tools first
    servers = dict.fromkeys(tool.server for tool in tools)
    return await draw(
        request,
        "tools.html",
        "Tools",
        query=query,
        server=server,
        search=search,
        tools=shown[:MOST_ROWS],
        count=len(shown),
        total=len(tools),
        servers=[(name, sum(tool.server == name for tool in tools)) for name in servers],
    )


# --- one tool ---------------------------------------------------------------------------------


# Of a pin's history: its sign, what happened, when, more about it, and the definition.
_Step = tuple[str, str, str, tuple[Markup, ...], str | None]


class ShownTool(NamedTuple):
    """A tool on its page.

    Attributes:
        stored: the tool in the store.
        parameters: the parameters in its schema.
        schema: the whole schema, if its parameters have no fields of their own.
        annotations: its own claims.
        steps: the history of its pin, the newest first.
        calls: the calls of the last day, the newest first.
        entry: the guarded entry that starts its server; None if it cannot be tried.
        why: the reason if it cannot.
    """

    stored: StoredTool
    parameters: list[tool_pins.Parameter]
    schema: str
    annotations: JsonObject
    steps: list[_Step]
    calls: list[dict[str, Any]]
    entry: ServerEntry | None
    why: str

    @property
    def description(self) -> str:
        """The description that agents read."""
        text = tool_pins.read_definition(self.stored.definition).get("description")
        return text if isinstance(text, str) else ""


def find_shown(store: Store, server: str, name: str) -> ShownTool:
    """Find the tool of an address.

    Raises:
        NothingDoneError: the store does not have it.
        StateError: the store cannot be read.
    """
    stored = tool_pins.find_tool(store, server, name)
    if stored is None:
        raise NothingDoneError("The store has no such tool any more.")
    definition = tool_pins.read_definition(stored.definition)
    parameters = list(tool_pins.list_parameters(definition))
    schema = definition.get("inputSchema")
    properties = as_object(schema).get("properties")
    is_plain = isinstance(properties, dict) and len(parameters) <= MOST_PARAMETERS
    entries = tool_calls(store, stored.server, stored.pin.name, time.time() - DAY_SECONDS)
    return ShownTool(
        stored,
        parameters if is_plain else [],
        "" if is_plain else serialise(schema).decode(),
        tool_pins.read_annotations(stored.definition),
        list(_list_steps(store, stored)),
        list(_list_calls(entries, stored.pin.name)),
        *_find_entry(store, stored),
    )


_DECIDED = {
    "approve": ("up", "Approved"),
    "reject": ("block", "Rejected"),
    "forget": ("down", "Forgotten"),
    "undo": ("asleep", "Decision taken back"),
}


def _list_steps(store: Store, stored: StoredTool) -> Iterator[_Step]:
    pin = stored.pin
    if pin.held_definition is not None:
        changes = StoredDefinition(stored.server, pin).changes or (describe_reason(pin.reason),)
        lines = tuple(foreign(line, NOTE_CHARS) for line in changes if line)
        mark, heading = ("asks", stored.state) if pin.waits else ("down", "A change was withdrawn")
        mark, heading = (
            ("block", "Rejected, and offered again") if pin.is_rejected else (mark, heading)
        )
        yield mark, heading, pin.held_at, lines, pin.held_fingerprint
    for entry in pin_history(store, stored.server, pin.kind, pin.name):
        mark, heading = _DECIDED.get(entry.action, ("asleep", entry.action))
        by = Markup("by {}").format(show_own(entry.client)) if entry.client else Markup("")
        yield mark, heading, entry.time, (by,) if by else (), entry.frame_sha256
    if pin.approved_definition is not None:
        heading = "In force: approved" if pin.is_reviewed else "In force: trusted on first use"
        said = () if pin.is_reviewed else (UNSEEN,)
        mark = "up" if pin.is_reviewed else "allow"
        yield mark, heading, pin.approved_at, said, pin.approved_fingerprint


def _list_calls(entries: list[AuditEntry], tool: str) -> Iterator[dict[str, Any]]:
    """List the messages of a tool's calls, and the lists with a finding in it, as in the audit."""
    for entry in entries:
        findings = parse_findings(entry)
        is_list = entry.method == "tools/list"
        if is_list:
            findings = [each for each in findings if each.get("tool") == tool[:200]]
        if entry.action == "allow" and not findings and entry.direction == "to-server":
            continue  # its result follows, with the time that it took
        what = "list" if is_list else "call" if entry.direction == "to-server" else "result"
        rules = tuple(dict.fromkeys(each["rule"] for each in findings))
        texts = (each.get("note") or each.get("excerpt", "") for each in findings)
        notes = tuple(dict.fromkeys(filter(None, texts)))[:3]
        yield {"entry": entry, "what": what, "rules": rules, "notes": notes}


def _find_entry(store: Store, stored: StoredTool) -> tuple[ServerEntry | None, str]:
    """Find the guarded entry that starts a tool's server; if there is none, explain why."""
    if stored.pin.waits or stored.pin.is_rejected:
        return None, "Not while it is held: decide first."
    starting = sort_entries(store).get(stored.server, [])
    if guarded := [each for each in starting if each.guard is not None]:
        return guarded[0], ""
    if starting:
        return None, "It is behind pipeguard serve. Try it with: pipeguard tools call"
    return None, "No file of a client on this machine starts its server guarded."


async def _find(request: Request) -> ShownTool:
    server, name = request.match_info["server"], request.match_info["name"]
    return await with_store(request, lambda store: find_shown(store, server, name))


async def _tool(request: Request) -> Response:
    return await _draw_tool(request, await _find(request), {}, defaultdict(str))


async def _draw_tool(
    request: Request, shown: ShownTool, trial: dict[str, object], form: dict[str, str]
) -> Response:
    stored, entry = shown.stored, shown.entry
    return await draw(
        request,
        "tool.html",
        f"{visible(stored.pin.name)[:40]} of {visible(stored.server)[:40]}",
        tool=shown,
        trial=trial,
        rejected=cards.ChangedCard(StoredDefinition(*stored)) if stored.pin.is_rejected else None,
        values=form,
        server_id=address(stored.server),
        starts=(short_path(str(entry.file)), command_line(entry)) if entry else (),
    )


# --- a call -----------------------------------------------------------------------------------


def read_arguments(shown: ShownTool, form: Mapping[str, str]) -> dict[str, object]:
    """Parse the arguments that a person typed; leave out empty fields that are not required.

    Raises:
        NothingDoneError: a field does not have a value that its parameter accepts.
    """
    if shown.schema:
        whole = _read_json(form.get(WHOLE, "") or "{}", "The arguments")
        if not isinstance(whole, dict):
            raise NothingDoneError("The arguments are not a JSON object.")
        return whole
    arguments: dict[str, object] = {}
    for number, parameter in enumerate(shown.parameters):
        text = form.get(f"p{number}", "")
        if text or (parameter.is_required and parameter.kind == "string"):
            arguments[parameter.name] = _read_argument(parameter, text)
    return arguments


def _read_argument(parameter: tool_pins.Parameter, text: str) -> object:
    name = visible(parameter.name)[:100]
    if parameter.kind == "string":
        return text
    if parameter.kind == "enum":
        if text not in parameter.choices:
            raise NothingDoneError(f"{name} takes one of its values only.")
        return json.loads(text)
    value = _read_json(text, name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if parameter.kind == "boolean" and not isinstance(value, bool):
        raise NothingDoneError(f"{name} is true or false.")
    if parameter.kind == "integer" and not (is_number and isinstance(value, int)):
        raise NothingDoneError(f"{name} takes a whole number.")
    if parameter.kind == "number" and not is_number:
        raise NothingDoneError(f"{name} takes a number.")
    return value


def _read_json(text: str, name: str) -> object:
    def refuse(word: str) -> object:
        raise ValueError(word)  # NaN and Infinity are no JSON

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise NothingDoneError(f"{name}: this is not JSON.") from None


async def _try(request: Request) -> Response:
    form = await read_form(request)
    shown = await _find(request)
    stored, server = shown.stored, shown.entry
    if form["shown"] != stored.pin.approved_fingerprint:
        raise NothingDoneError("The tool changed after this page was drawn. Look at it again.")
    if server is None:
        raise NothingDoneError(shown.why)
    arguments = read_arguments(shown, form)
    written = json.dumps(arguments, ensure_ascii=False)
    started = sha256(repr((server.words, sorted(server.env.items()), server.cwd)).encode())
    answer = OpeningAnswer(
        "\0".join(("try", stored.path, written, started.hexdigest())),
        f"call the tool {quote_name(stored.pin.name)} of {quote_name(stored.server)}",
        "Call it",
        Markup("{} of {} with {}").format(
            foreign(stored.pin.name), foreign(stored.server), foreign(written, 500)
        ),
        opens=Markup("this one call; it starts {}, as {} says").format(
            foreign(command_line(server), 300), short_path(str(server.file))
        ),
        spares="what PipeGuard would block for an agent: it judges and records this call, too",
        back=stored.path,
    )
    if (asked := await ask_number(request, [answer])) is not None:
        return asked
    trying = request.app[PAGE].trying
    if trying.locked():
        raise NothingDoneError("Another call is being tried. Wait for its answer.")
    async with trying:
        trial = await _carry_out(request, stored, server, arguments)
    return await _draw_tool(request, await _find(request), trial, form)


async def _carry_out(
    request: Request, stored: StoredTool, server: ServerEntry, arguments: dict[str, object]
) -> dict[str, object]:
    """Call a tool; return the outcome for the page."""
    from pipeguard.assess.connecting import call_guarded  # with all of the guard

    began = time.time()
    call = (stored.pin.name, arguments)
    machine = Machine.in_current_folder()
    done = await asyncio.to_thread(call_guarded, server, machine, call, CLIENT, LIMIT_SECONDS)
    entries = await with_store(
        request, lambda store: tool_calls(store, stored.server, stored.pin.name, began - 1, CLIENT)
    )
    text, is_error = read_answer(done.answer)
    calls = _list_calls(entries, stored.pin.name)
    return {
        "done": done,
        "arguments": json.dumps(arguments, ensure_ascii=False),
        "text": text,
        "is_error": is_error,
        "verdicts": [each for each in calls if each["what"] != "list"],
    }


def read_answer(answer: JsonObject | None) -> tuple[str, bool]:
    """Return the text of an answer, and whether the call failed."""
    if answer is None:
        return "", True
    if isinstance(result := answer.get("result"), dict):
        text = menu.result_text(result)
        structured = result.get("structuredContent")
        if structured is not None and not text:
            text = serialise(structured).decode()
        return text, result.get("isError") is True
    message = as_object(answer.get("error")).get("message")
    return message if isinstance(message, str) else "", True


ROUTES = (
    web.get(PATH, _tools),
    web.get(PATH + "/{server}/{name}", _tool),
    web.post(PATH + "/{server}/{name}/try", _try),
)
