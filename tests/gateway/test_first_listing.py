"""A server's offer waits for approval before any client has listed it, and needs a person."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeguard.gateway.tool_offer import MOST_PAGES
from pipeguard.launch.person import TOKEN_VARIABLE, new_token
from pipeguard.state.pins import Store
from pipeguard.state.review import StoredDefinition, approve, held_definitions, reject
from pipeguard.state.store import open_store
from pipeguard.ui.cards import find_waiting
from tests.commands import run_command
from tests.forking import PIPEGUARD
from tests.gateway.rogues import rogue, talking
from tests.gateway.rogues import until as wait_until
from tests.gateway.served import Served, environment_of_state, write_servers
from tests.launch.processes import until
from tests.wrap.wrapped import PYTHON, Json, Object, Wrapped

pytestmark = pytest.mark.real
REVIEW = {"trust": "review"}


async def test_all_definitions_wait_at_once() -> None:
    new = rogue(
        "new",
        settings=REVIEW,
        tools=["run"],
        prompts=["greet", "part"],
        resources=["x://one"],
        templates=["x://{id}"],
    )
    async with talking(new) as (_, gateway):
        member = gateway.members["new"]
        held = {key for key, pin in member.run.guard.pins.all().items() if pin.held_definition}
        assert {kind for kind, _ in held} == {"tool", "prompt", "resource", "template"}
        assert member.offer.waiting == len(held) == 5


async def test_a_list_without_end_is_left_and_the_next_one_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with talking(
        rogue("endless", settings=REVIEW, endless=True, templates=["x://{id}"], log=str(log))
    ) as (_, gateway):
        member = gateway.members["endless"]
        await wait_until(lambda: member.offer.waiting == 1)
        assert log.read_text().count("resources/list") == MOST_PAGES


async def test_a_server_that_never_answers_a_list_is_used_all_the_same() -> None:
    async with talking(rogue("mute", tools=["run"], prompts=["greet"], mute=["prompts/list"])) as (
        client,
        _,
    ):
        assert "ran at mute" in await client.text("mute__run")


# --- what nobody approved ---------------------------------------------------------------

SCRIPTED = Path(__file__).with_name("scripted.py")
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


def offer(words: str, *names: str) -> Object:
    """Make a server's offer with these words: one definition of each kind for each name."""
    described: dict[str, Json] = {"description": words}
    return {
        "instructions": words,
        "tools": tools(words, *names),
        "prompts": [{"name": name, **described} for name in names],
        "resources": [{"uri": f"x://{name}", "name": name, **described} for name in names],
        "resourceTemplates": [
            {"uriTemplate": f"x-{name}://{{id}}", "name": name, **described} for name in names
        ],
    }


def tools(words: str, *names: str) -> list[Json]:
    schema: Json = {"type": "object", "properties": {}}
    return [{"name": name, "description": words, "inputSchema": schema} for name in names]


class Home:
    """A state folder, and a server that offers the definitions of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "offer.json"
        self._command = [*PYTHON, str(SCRIPTED), str(self._file)]

    def offers(self, offered: Object) -> None:
        self._file.write_text(json.dumps(offered))

    def wrap(self, trust: str) -> Wrapped:
        options = ("--name", "one", "--trust", trust)
        return Wrapped(self.folder, command=self._command, options=options)

    def serve(self, trust: str) -> Served:
        program, *arguments = self._command
        entry: Object = {"command": program, "args": [*arguments], "trust": trust}
        config = write_servers(self.folder, {"one": entry}, mode="direct")
        return Served(self.folder, "--config", str(config))

    def run(self, *words: str) -> str:
        variables = {**environment_of_state(self.folder), TOKEN_VARIABLE: new_token()[0]}
        command = [*PIPEGUARD, *words]
        done = run_command(command, env=variables, timeout=60)
        return done.stdout

    def decide(self, decide: Callable[[Store, list[StoredDefinition], str], object]) -> None:
        """Decide on all pending definitions, as a person elsewhere: a guard runs here."""
        with open_store(self.folder / "state" / "pipeguard.db") as store:
            decide(store, held_definitions(store), "kim")

    def waiting(self) -> set[str]:
        """Return the pending kinds of `x`, or of the instructions."""
        with open_store(self.folder / "state" / "pipeguard.db") as store:
            pins = [each.pin for each in held_definitions(store)]
        return {pin.kind for pin in pins if "y" not in pin.name.partition("://")[0]}

    def has_run(self, trust: str) -> None:
        """Let a client of `wrap` list everything, and hang up."""
        with self.wrap(trust) as client:
            shown_by(client)
            client.end()


def shown_by(client: Wrapped) -> dict[str, str]:
    """Return the words in which a client reads `x`, by list, if it does."""
    client.initialize()
    return listed_by(client)


def listed_by(client: Wrapped) -> dict[str, str]:
    shown = {}
    for method, member in LISTS.items():
        answer = json.loads(json.dumps(client.ask(method)))
        for item in answer["result"][member]:
            name = item.get("uri", item.get("uriTemplate", item["name"]))
            if name in {"x", "one__x", "x://x", "x-x://{id}"}:
                shown[member] = str(item["description"])
    return shown


def uses(client: Wrapped) -> set[str]:
    """Return the kinds of `x` that a client may use."""
    prefix = "one__" if isinstance(client, Served) else ""
    asked: dict[str, Object] = {
        "tools/call": {"name": f"{prefix}x", "arguments": {}},
        "prompts/get": {"name": f"{prefix}x"},
        "resources/read": {"uri": "x://x"},
    }
    used = set()
    for method, params in asked.items():
        result = client.ask(method, **params).get("result")
        if isinstance(result, dict) and result.get("isError") is not True:
            used.add(method)
    return used


class Past(NamedTuple):
    """The earlier state, and the server's offer now."""

    first: str  # the trust of the first run
    before: Object
    approves: bool
    now: Object


ALL_KINDS = {"tool", "prompt", "resource", "template", "server"}
OLD, NEW = "Does one thing.", "Does another thing."
PASTS = {
    "pinned": Past("first-use", offer(OLD, "x"), approves=False, now=offer(OLD, "x")),
    "approved": Past("review", offer(OLD, "x"), approves=True, now=offer(OLD, "x")),
    "new": Past("review", offer(OLD, "y"), approves=True, now=offer(OLD, "x", "y")),
    "drifted": Past("review", offer(OLD, "x"), approves=True, now=offer(NEW, "x")),
    "pinned-drifted": Past("first-use", offer(OLD, "x"), approves=False, now=offer(NEW, "x")),
}
# By past and trust: the words in which it is offered (none: not at all), and the kinds that wait.
EXPECTED: dict[tuple[str, str], tuple[str, set[str]]] = {
    ("pinned", "review"): ("", ALL_KINDS),
    ("approved", "review"): (OLD, set()),
    ("new", "first-use"): (OLD, set()),
    ("new", "review"): ("", ALL_KINDS - {"server"}),
    ("drifted", "first-use"): (OLD, ALL_KINDS),
    ("drifted", "review"): (OLD, ALL_KINDS),
    ("pinned-drifted", "review"): ("", ALL_KINDS),
}


@pytest.mark.often("pinned-review-serve", "new-review-serve", "drifted-*-serve", "new-*-wrap")
@pytest.mark.parametrize(
    ("past", "trust", "verb"),
    [
        *((*key, "serve") for key in EXPECTED),
        *((*key, "wrap") for key in EXPECTED if "drifted" not in key[0] or key[1] == "first-use"),
    ],
)
def test_under_review_only_what_a_person_approved_is_offered(
    tmp_path: Path, past: str, trust: str, verb: str
) -> None:
    home, before = Home(tmp_path), PASTS[past]
    home.offers(before.before)
    home.has_run(before.first)
    if before.approves:
        home.decide(approve)
        assert home.waiting() == set()
    home.offers(before.now)
    words, waiting = EXPECTED[past, trust]
    start: Callable[[str], Wrapped] = home.wrap if verb == "wrap" else home.serve
    with start(trust) as client:
        assert shown_by(client) == (dict.fromkeys(LISTS.values(), words) if words else {})
        assert len(uses(client)) == (0 if waiting else 3)
        until(lambda: home.waiting() == waiting, "what waits is in the store")
        if waiting:
            home.decide(approve)
            until(lambda: len(uses(client)) == 3, "the approval has arrived")
            now = NEW if "drifted" in past else OLD
            until(lambda: set(listed_by(client).values()) == {now}, "it is listed as approved")
        assert home.waiting() == set()
        client.end()


def test_what_is_pinned_while_a_run_is_under_review_waits_there(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.offers(offer(OLD, "y"))
    home.has_run("review")
    home.decide(approve)
    with home.wrap("review") as client:
        assert shown_by(client) == {}
        home.offers(offer(OLD, "x", "y"))
        home.has_run("first-use")
        until(lambda: home.waiting() == ALL_KINDS - {"server"}, "it waits")
        assert uses(client) == set()
        with home.wrap("first-use") as other:  # which trusts the first sight all the same
            other.initialize()
            assert len(uses(other)) == 3
        home.decide(reject)
        assert home.waiting() == set()


def test_a_changed_tool_is_not_found_before_it_is_approved(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.offers(offer(OLD, "x", "y"))
    home.has_run("review")
    home.decide(approve)
    changed = offer(NEW, "x")
    changed["tools"] = [*tools(NEW, "x"), *tools(OLD, "y")]
    home.offers(changed)
    with home.serve("review") as client:
        config = json.loads((tmp_path / "pipeguard.yaml").read_text())
        write_servers(tmp_path, config["servers"], mode="search")
        client.initialize()
        until(lambda: "one__y" in client.call("retrieve_tools", query="thing"), "it is found")
        assert "one__x" not in client.call("retrieve_tools", query="thing")
        until(lambda: "tool" in home.waiting(), "what waits is in the store")
        home.decide(approve)
        until(lambda: "one__x" in client.call("retrieve_tools", query="thing"), "now it is, too")


def test_a_change_that_the_server_took_back_waits_no_longer(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.offers(offer(OLD, "x"))
    home.has_run("review")
    home.decide(approve)
    for words, waiting in ((NEW, ALL_KINDS), (OLD, set()), (NEW, ALL_KINDS)):
        home.offers(offer(words, "x"))
        home.has_run("review")
        assert home.waiting() == waiting
    home.offers(offer(OLD, "x"))
    with home.serve("review") as client:
        assert set(shown_by(client).values()) == {OLD}
        until(lambda: home.waiting() == set(), "all is withdrawn")
        assert len(uses(client)) == 3
        (server,) = json.loads(home.run("status", "--json"))["servers"]
        assert server["waiting"] == 0
        with open_store(tmp_path / "state" / "pipeguard.db") as store:
            assert not find_waiting(store)
        assert home.run("diff") == "Nothing waits for approval.\n"
        shown = home.run("diff", "one/x", "--kind", "tool")
        assert "withdrawn: the version approved on" in shown
        assert NEW in shown
    home.run("approve", "one/x", "--kind", "tool", "--yes")
    with open_store(tmp_path / "state" / "pipeguard.db") as store:
        assert NEW in (store.pins("one")["tool", "x"].approved_definition or "")
