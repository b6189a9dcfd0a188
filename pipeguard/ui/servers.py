"""The page of servers: the state, activity, clients and reach of each.

An unguarded entry of a client is shown too, with the change that `pipeguard setup` would make to
its file.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from markupsafe import Markup

from pipeguard.assess.gateway_file import is_of_gateway, pins_name
from pipeguard.assess.isolated_servers import (
    RunningProcesses,
    ServerHere,
    read_configs,
    servers_here,
)
from pipeguard.assess.isolation import extent_if_isolated
from pipeguard.auth.store import has_login
from pipeguard.clients import catalog, files, isolating, masking, readiness, setting
from pipeguard.clients.entries import GuardState, ServerEntry
from pipeguard.clients.launcher import launcher
from pipeguard.clients.machine import Machine
from pipeguard.clients.rewrite import NOT_ISOLATED, GuardOptions, judge
from pipeguard.config.effective_policy import wrap_isolation
from pipeguard.config.options import WrapOptions
from pipeguard.errors import InputError
from pipeguard.isolation import (
    Isolation,
    ServerPreview,
    extent_rows,
    find_engine_problem,
    short_path,
    summarise,
)
from pipeguard.state.activity import KnownServer, ServerHistory, activity_history, guarded_servers
from pipeguard.state.timestamps import from_utc_text, to_utc_text
from pipeguard.ui.decisions import DoneDecision, NothingDoneError
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
from pipeguard.ui.plots import sparkline
from pipeguard.ui.text import foreign, sentence, when
from pipeguard.ui.tool_pins import NO_TOOLS, ToolCounts, address, count_tools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeguard.clients.setting import ChangePlan
    from pipeguard.state.pins import Store

IDLE_SECONDS = 300.0  # after which a server that said nothing is idle
MOST_SERVERS = 200  # that are drawn
STATES = {"up": "running", "asleep": "ended", "unknown": "not known", "open": "not guarded"}
PATH, GUARD_PATH = "/servers", "/servers/guard"
WITH_YOUR_RIGHTS = Markup(
    "<b>Not isolated:</b> it runs with your rights, and can read your files and reach any host"
)
NOTHING_BETWEEN = Markup("<b>Not guarded:</b> PipeGuard is not between it and its client")


async def _servers(request: Request) -> Response:
    shown = await with_store(request, lambda store: find_servers(store, time.time()))
    counts = Counter(server["mark"] if server["tools_path"] else "open" for server in shown)
    return await draw(
        request,
        "servers.html",
        "Servers",
        servers=shown[:MOST_SERVERS],
        count=len(shown),
        states=[(counts[mark], words) for mark, words in STATES.items() if counts[mark]],
    )


# --- what is shown ----------------------------------------------------------------------------


def sort_entries(store: Store) -> dict[str, list[ServerEntry]]:
    """Sort all clients' entries by the stored names of their servers; unguarded ones below ""."""
    found: defaultdict[str, list[ServerEntry]] = defaultdict(list)
    configs = read_configs()
    for server in (each for config in configs for each in config.servers):
        is_guarded = server.guard is not None or is_of_gateway(server)
        found[pins_name(store, server) if is_guarded else ""].append(server)
    return found


class _Entries:
    """The entries of all clients, by the stored names of their servers."""

    def __init__(self, store: Store) -> None:
        here = servers_here(wrap_isolation(WrapOptions()))
        self.extents = {(each.server.file, each.server.path): each for each in here}
        self.processes = RunningProcesses()
        self.running = {*self.processes.find_living(store).values()}
        self.guarded, states = sort_entries(store), (GuardState.OPEN, GuardState.CANNOT)
        others = self.guarded.pop("", [])
        self.open = [each for each in others if judge(each, GuardOptions()).state in states]

    def find_extent(self, server: ServerEntry) -> ServerHere | None:
        """Find the extent of a server that is started here."""
        return self.extents.get((server.file, server.path))


def find_servers(store: Store, now: float) -> list[dict[str, Any]]:
    """List all servers that are guarded or could be: the guarded ones first, by name.

    Raises:
        StateError: the store cannot be read.
    """
    entries = _Entries(store)
    known = guarded_servers(store)
    days = activity_history(store, now)
    tools = count_tools(store)
    shown = []
    for name in sorted({*store.named_servers(), *tools, *days, *entries.guarded}):
        starting = entries.guarded.get(name, [])
        first = next(filter(None, map(entries.find_extent, starting[:1])), None)
        is_held = first and first.touches.extent is not None and first.isolation.is_held
        counts = tools.get(name, NO_TOOLS)
        mark, words, since = _find_health(name, entries, days.get(name), known.get(name), now)
        server = {
            "name": name,  # by which it is stored
            "id": address(name),
            "mark": mark,
            "state": words,
            "since": since,
            "entries": [_show_entry(each) for each in starting],
            "launched": known[name].launched if name in known else "",
            "plots": list(_draw_plots(days.get(name))),
            "tools": counts,
            "tools_path": f"/tools?{urlencode({'server': name}, errors='replace')}",
            "enforced": list(_list_enforced(counts, starting, entries)),
            "extent": list_reach(first.touches) if first and is_held else [],
            "claims": list(_list_claims(counts)),  # unverified claims
            "guard_paths": ("", _find_isolate_path(starting)),
        }
        shown.append(server)
    return shown + [_show_open(server) for server in entries.open]


def list_reach(touches: ServerPreview) -> list[tuple[str, list[str]]]:
    """List everything that an isolated server can touch, by labels."""
    rows = extent_rows(touches)
    return [
        (label, [f"{what}  ({why})" if why else what for what, why in row])
        for label, row in rows.items()
    ]


def find_starts(store: Store) -> dict[str, list[dict[str, str]]]:
    """Find how clients start the guarded servers, by name: with names of variables, not values.

    With each is the page that isolates it; empty if it is isolated, or cannot be.
    """
    return {
        name: [
            {**_show_entry(each), "isolate_path": _find_isolate_path([each])} for each in starting
        ]
        for name, starting in sort_entries(store).items()
    }


def _find_isolate_path(starting: list[ServerEntry]) -> str:
    """Find the page that isolates a guarded server; empty if it is isolated, or cannot be."""
    options = GuardOptions(isolate=True)
    for server in starting:
        if server.guard is not None and judge(server, options).code == NOT_ISOLATED:
            return f"{_guard_path(server)}&isolate=1"
    return ""


def _guard_path(server: ServerEntry) -> str:
    words = {"file": str(server.file), "name": server.name}
    return f"{GUARD_PATH}?{urlencode(words, errors='surrogateescape')}"


def _find_health(
    name: str, entries: _Entries, day: ServerHistory | None, record: KnownServer | None, now: float
) -> tuple[str, str, Markup]:
    """Find the sign of a server's state, its words, and further details."""
    starts = map(entries.processes.find_start, entries.guarded.get(name, []))
    began, last = [began for began in starts if began is not None], day.last if day else ""
    seen = Markup("last seen at {}").format(when(last)) if last else Markup("")
    if (began or name in entries.running) and day is not None and day.unanswered:
        since = Markup("has sent nothing since its start at {}").format(when(day.unanswered))
        return "unknown", "Does not answer", since
    if began:
        return "up", "Runs", Markup("since {}").format(when(to_utc_text(min(began))))
    if name in entries.running:
        is_idle = not last or now - from_utc_text(last) > IDLE_SECONDS
        return "up", "Runs, idle" if is_idle else "Runs", seen
    if last:
        return "asleep", "Ended", seen
    if record is not None and record.last_run:
        return "asleep", "Ended", Markup("last started at {}").format(when(record.last_run))
    return "unknown", "Not known", Markup("it has not run under PipeGuard yet")


def _show_entry(server: ServerEntry) -> dict[str, str]:
    client = catalog.clients().get(server.client)
    judgement = judge(server, GuardOptions())
    return {
        "client": client.name if client is not None else "pipeguard serve",
        "file": short_path(str(server.file)),
        "command": masking.command_line(server),
        "names": ", ".join(sorted({*server.env, *server.env_names, *server.headers})),
        "state": "guarded" if is_of_gateway(server) else judgement.state.value,
        "why": judgement.why,
    }


def _draw_plots(day: ServerHistory | None) -> Iterator[tuple[str, str, Markup]]:
    """Draw the plots of a day: title, figure and drawing; none if nothing happened."""
    if day is None or not any((*day.calls, *day.blocked)):
        return
    for name, values in (("Calls", day.calls), ("Blocked", day.blocked)):
        label = f"{name} each hour, at most {max(values)}"
        yield name, f"{sum(values):,}", sparkline(values, label)
    figure = "no call" if day.median_ms is None else f"{day.median_ms:,.0f} ms"
    label = f"Median time of a call each hour: {figure} in all"
    yield "Median time", figure, sparkline(day.p50_ms, label)


def _list_enforced(
    tools: ToolCounts, starting: list[ServerEntry], entries: _Entries
) -> Iterator[Markup]:
    """List the limits that hold whatever a server does."""
    for each in starting:
        here = entries.find_extent(each)
        if here is not None:
            yield from _describe_isolation(here)
        elif each.own_url:
            host = urlsplit(each.own_url).hostname or "an address that its client knows"
            text = "Runs elsewhere, at {host}: of your files it sees only what a call sends it"
            yield sentence(text, host=foreign(host))
    if not starting:
        yield Markup("Not known: no file of a client on this machine starts it")
    if tools.held:
        text = "{held} of {all} tools held: calls of them are refused"
        yield sentence(text, held=tools.held, all=tools.total)
    yield Markup("PipeGuard checks everything it sends and receives")


def _describe_isolation(here: ServerHere) -> Iterator[Markup]:
    touches = here.touches
    if not here.isolation.is_held:
        is_learning = here.isolation.engine == Isolation.LEARN
        yield Markup("Learning: PipeGuard refuses it nothing") if is_learning else WITH_YOUR_RIGHTS
    elif touches.problem:
        yield Markup("It does not start: {}").format(foreign(touches.problem, 500))
    else:
        words = summarise(touches)
        yield Markup("{}. Nothing else of yours").format(words[:1].upper() + words[1:])


def _list_claims(tools: ToolCounts) -> Iterator[Markup]:
    """List the claims of a server about its tools."""
    if tools.total:
        yield Markup("Tools it calls read-only: {} of {}").format(tools.only_read, tools.total)
    for name in tools.may_destroy:
        yield Markup("It warns that {} may destroy data").format(foreign(name))
    if not tools.total:
        yield Markup("It has listed no tool under PipeGuard yet")


def _show_open(server: ServerEntry) -> dict[str, Any]:
    """Describe an entry that PipeGuard does not guard."""
    entry = _show_entry(server)
    path = _guard_path(server)
    can_guard = entry["state"] == GuardState.OPEN.value
    isolates = can_guard and bool(server.own_words)
    return {
        "name": server.name,
        "id": address(f"{server.file}\0{server.name}"),
        "mark": "unknown",
        "state": "Not guarded",
        "since": "PipeGuard sees nothing of it",
        "entries": [entry],
        "plots": [],
        "launched": "",
        "tools": NO_TOOLS,
        "tools_path": "",
        "extent": [],
        "enforced": [NOTHING_BETWEEN],
        "claims": ["All that it says; the model reads it as it comes"],
        "guard_paths": (path if can_guard else "", f"{path}&isolate=1" if isolates else ""),
    }


# --- guarding an entry ------------------------------------------------------------------------


class GuardPlan(NamedTuple):
    """The change that `pipeguard setup` would make for one entry.

    Attributes:
        change: the change of its file.
        name: the server's name in the file.
        verb: the answer in one to three words.
        lines: the change as a diff, with secrets masked.
        notes: further notes for the person.
        reach: everything that the server can touch afterwards, if it is isolated, by labels.
        machine: the machine of the file.
    """

    change: ChangePlan
    name: str
    verb: str
    lines: list[str]
    notes: list[str]
    reach: list[tuple[str, list[str]]]
    machine: Machine

    @property
    def digest(self) -> str:
        """The digest of the change to which an answer applies."""
        parts = (str(self.change.config.path).encode(), self.change.config.content)
        return sha256(b"\0".join((*parts, self.change.content or b""))).hexdigest()[:16]


def plan_guard(values: Mapping[str, str]) -> GuardPlan:
    """Plan to guard the entry that a form or an address names.

    Raises:
        PipeGuardError: the entry is missing or cannot be guarded, or the policy is invalid, so that
            the guard would not start.
    """
    readiness.check_policy()
    machine, name = Machine.in_current_folder(), values.get("name", "")
    is_isolation = values.get("isolate") == "1"
    configs = read_configs()
    config = next((each for each in configs if str(each.path) == values.get("file")), None)
    entry = next((each for each in config.servers if each.name == name), None) if config else None
    if config is None or entry is None:
        raise NothingDoneError("No client's file has this entry any more.")
    if is_isolation and (problem := find_engine_problem(isolating.HOW).rstrip(".")):
        raise InputError(f"Servers cannot be isolated here, and would not start: {problem}.")
    options = GuardOptions(names=(name,), isolate=is_isolation, is_logged_in=has_login)
    words = launcher(None, os.environ)
    (change,) = setting.plan_all([config], machine, words, options, configs)
    judged = [each for each in change.servers if each.server.name == name]
    notes = [each.why for each in judged if each.why]
    if change.content is None:
        raise NothingDoneError("; ".join((change.problem, *notes)).strip("; ") or "It is guarded.")
    lines = masking.diff(config, change.content, [each.path for each in change.changes])
    reach = list_reach(extent_if_isolated(entry, machine)) if is_isolation else []
    is_guarded = any(each.server.guard is not None for each in judged)
    verb = "Isolate" if is_guarded else "Guard and isolate"
    return GuardPlan(change, name, verb if is_isolation else "Guard", lines, notes, reach, machine)


async def _preview(request: Request) -> Response:
    planned = await with_store(request, lambda _: plan_guard(request.query))
    return await draw(request, "guard.html", f"Guard {planned.name[:40]!a}", planned=planned)


async def _guard(request: Request) -> Response:
    form = await read_form(request)
    planned = await with_store(request, lambda _: plan_guard(form))
    if form["shown"] != planned.digest:
        raise NothingDoneError("The file changed after this page was drawn. Look at it again.")
    verb = planned.verb
    path = short_path(str(planned.change.config.path))
    answer = OpeningAnswer(
        "\0".join(("guard", planned.digest, planned.name, verb)),
        f"{verb.lower()} a server of {path!a}",
        verb,
        Markup("{} in {}").format(foreign(planned.name), path),
        opens="this change to the file, as shown; the client starts the server this way from its"
        " next start",
        spares="any other entry, or another file",
        back=PATH,
    )
    if (asked := await ask_number(request, [answer])) is not None:
        return asked
    raise request.app[PAGE].finish(
        await with_store(request, lambda _: carry_out_guard(planned)), PATH
    )


def carry_out_guard(planned: GuardPlan) -> DoneDecision:
    """Write a planned change, with a record that `pipeguard setup --undo` uses.

    Raises:
        NothingDoneError: the file changed in the meantime, or cannot be written.
        PipeGuardError: the rules cannot be compiled, or the record cannot be written.
    """
    readiness.make_ready()
    try:
        record = setting.carry_out(planned.change, planned.machine)
    except files.FileError as error:
        raise NothingDoneError(str(error)) from None
    path, after = planned.change.config.path, planned.change.content or b""

    def undo(_store: Store) -> bool:
        if record is None:
            return False
        real = files.target(path, planned.machine)
        with files.lock_client(real, planned.change.config.lock):
            if files.sha256(real) != sha256(after).hexdigest():
                return False
            files.replace(real, record.backup(), record.after_sha256)
        record.forget()
        return True

    text = "PipeGuard now guards {name} in {path}. Restart the client."
    done = sentence(text, name=foreign(planned.name), path=short_path(str(path)))
    return DoneDecision(done, undo)


ROUTES = (web.get(PATH, _servers), web.get(GUARD_PATH, _preview), web.post(GUARD_PATH, _guard))
