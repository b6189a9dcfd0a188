"""Walls that no failure names as what they are: links, roots, a server's own list of folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.each import each
from tests.isolation.test_walls import (
    AUTO,
    FAILING,
    POLICY,
    allowed,
    call,
    event_in,
    explain,
    failing,
    texts,
)
from tests.isolation.test_wrapped import Isolated
from tests.launch.processes import PATIENCE_SECONDS, until
from tests.wrap.deciding import decide
from tests.wrap.wrapped import Json

pytestmark = pytest.mark.needs("bubblewrap")


def linked(folder: Path) -> Path:
    """A link in a folder that leads out of it, by another link."""
    notes = folder / "home" / "notes"
    notes.mkdir(parents=True)
    (notes / "away").symlink_to("../diary")
    (notes / "link").symlink_to(notes / "away")
    return notes / "link"


@each("given", ["--read", "--write"])
def test_a_link_that_leads_out_of_what_is_given_is_told(given: str, tmp_path: Path) -> None:
    tmp_path /= given.strip("-")
    link, diary = linked(tmp_path), tmp_path / "home" / "diary"
    options = (*AUTO, given, str(link.parent))
    with failing(tmp_path, *options, policy=POLICY) as run:
        server, ours = texts(call(run.ready(), "read_text_file", link))
        assert "No such file" in server
        assert f'to read "{diary}", where "{link}" leads' in ours
        event = event_in(ours)
        until(lambda: f"pipeguard allow {event}" in run.said(), "the person is told the command")
        for _ in range(3):
            assert event in texts(call(run, "read_text_file", link))[1]
        assert run.said().count("isolation.read") == 1
        assert "leads there" in explain(tmp_path, event)[1]
        code, shown = allowed(tmp_path, event)
        assert code == 0, shown
        assert 'may then read "~/diary".' in shown
    written = (tmp_path / "policy.yaml").read_text()
    with failing(tmp_path, *options, policy=written) as run:
        assert texts(call(run.ready(), "read_text_file", link)) == ["a day"]


def test_links_that_lead_nowhere_or_in_circles_are_no_wall(tmp_path: Path) -> None:
    notes = linked(tmp_path).parent
    (notes / "round").symlink_to("round")
    (notes / "inside").symlink_to("none")
    with failing(tmp_path, *AUTO, "--write", str(notes)) as run:
        run.ready()
        for name in ("round", "inside", "none"):
            assert len(texts(call(run, "read_text_file", notes / name))) == 1


# --- the client's roots ---------------------------------------------------------------


class Rooted(Isolated):
    """A run whose client has roots."""

    def ready(self) -> Rooted:
        self.ask(
            "initialize",
            protocolVersion="2025-06-18",
            capabilities={"roots": {"listChanged": True}},
            clientInfo={"name": "tests", "version": "1"},
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self.ask("tools/list")
        return self

    def say_roots(self, *roots: Path) -> None:
        asked = self.request("tools/call", name="ask_roots", arguments={"what": "x"})
        assert self.frame()["method"] == "roots/list"
        uris: list[Json] = [{"uri": f"file://{root}"} for root in roots]
        self.send({"jsonrpc": "2.0", "id": "roots", "result": {"roots": uris}})
        self.answer(asked)


def test_roots_that_are_not_given_are_told_once_and_allowed(tmp_path: Path) -> None:
    notes = tmp_path / "home" / "notes"
    with Rooted(tmp_path, command=FAILING, policy=POLICY) as run:
        run.ready()
        for _ in range(3):
            run.say_roots(notes, tmp_path / "home" / "none", tmp_path)
        until(lambda: "isolation.roots" in run.said(), "the person is told")
        _, ours = texts(call(run, "read_text_file", notes / "one"))
        assert f'to read "{notes / "one"}" (event ' in ours
        assert f'nor the client\'s roots, as "{notes}" (event ' in ours
        event = ours.partition("nor the client")[2].partition("event ")[2].partition(")")[0]
        assert run.said().count("block isolation.roots") == 1
        assert "`--read PATH`" in explain(tmp_path, event)[1]
        code, shown = allowed(tmp_path, event)
        assert code == 0, shown
        told = explained(tmp_path, event)
        assert "Your policy gives it that by now. It holds from the next start" in told
    written = (tmp_path / "policy.yaml").read_text()
    assert "{server: reacher, roots: read}" in written
    with Rooted(tmp_path, command=FAILING, policy=written) as run:
        run.ready().say_roots(notes)
        assert texts(call(run, "read_text_file", notes / "one")) == ["first note"]
        told = explained(tmp_path, event)
        assert "by now, and it has had it since it was started last." in told
        assert "Take it back: pipeguard isolate revoke reacher read" not in told
        assert "Take it back: pipeguard isolate revoke reacher roots" in told


def test_a_server_s_own_list_without_the_client_s_roots_is_one_story(tmp_path: Path) -> None:
    notes, diary = tmp_path / "home" / "notes", tmp_path / "home" / "diary"
    notes.mkdir(parents=True)
    with Rooted(tmp_path, *AUTO, command=(*FAILING, str(notes))) as run:
        run.ready().say_roots(tmp_path / "home")
        until(lambda: "isolation.roots" in run.said(), "the person is told")
        _, ours = texts(call(run, "read_in_own_folders", diary))
        assert ours.count("PipeGuard:") == 1
        refuses, takes = ours.index("itself refuses"), ours.index("in their place.")
        assert refuses < takes < ours.index("It is isolated, and is not given the client's roots")
        assert ours.endswith("change its arguments; do not work around it.")
    told = explained(tmp_path, event_in(ours.partition("It is isolated")[2]))
    assert "Give the server exactly that: pipeguard allow" in told
    assert "false alarm" not in told


def explained(folder: Path, event: str) -> str:
    """What is said of an event where the policy is known, each blank as one."""
    environment = {"PIPEGUARD_POLICY": str(folder / "policy.yaml"), "HOME": str(folder / "home")}
    code, said = decide(folder / "state", "explain", event, environment=environment)
    assert code == 0, said
    return " ".join(said.split())


def test_a_root_that_is_refused_is_an_event(tmp_path: Path) -> None:
    with Rooted(tmp_path, *AUTO, "--roots", "read", command=FAILING) as run:
        run.ready()
        for _ in range(3):
            run.say_roots(tmp_path / "home")
        until(lambda: "isolation.read" in run.said(), "it is recorded")
        assert run.said().count("block isolation.read") == 1
        assert "is not given" in run.said()


def test_roots_that_the_server_sees_anyway_are_no_wall(tmp_path: Path) -> None:
    with Rooted(tmp_path, *AUTO, "--read", "home/notes", command=FAILING) as run:
        run.ready().say_roots(tmp_path / "home" / "notes")
        assert texts(call(run, "claim", "done")) == ["done"]
        assert "isolation.roots" not in run.said()


# --- arguments ------------------------------------------------------------------------


@each("word", ["notes", "./notes", "--root=notes"])
def test_a_folder_among_arguments_needs_no_slash(word: str, tmp_path: Path) -> None:
    options = (*AUTO, "--cwd", "home")
    one = tmp_path / "home" / "notes" / "one"
    with Isolated(tmp_path, *options, command=(*FAILING, word, "notes")) as run:
        assert texts(call(run.ready(), "read_in_own_folders", one)) == ["first note"]


def test_a_server_that_ends_without_a_folder_among_its_arguments_is_told(tmp_path: Path) -> None:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    with Isolated(tmp_path, *AUTO, "--cwd", "home", command=(*FAILING, ".ssh")) as run:
        assert run.process.wait(PATIENCE_SECONDS) == 1
        said = run.said()
    assert "is not given what its arguments name" in said
    assert "--read PATH" in said
    assert "--inherit-env" not in said


def test_a_server_s_own_list_is_told_as_that(tmp_path: Path) -> None:
    notes, diary = tmp_path / "home" / "notes", tmp_path / "home" / "diary"
    command = (*FAILING, str(notes))
    notes.mkdir(parents=True)
    with Isolated(tmp_path, *AUTO, "--read", "home", command=command) as run:
        server, ours = texts(call(run.ready(), "read_in_own_folders", diary))
        assert server.startswith("Access denied")
        assert f'this server itself refuses "{diary}"' in ours
        assert "isolated, and is not given" not in ours
        event = event_in(ours)
        until(lambda: "its arguments" in explain(tmp_path, event)[1], "it is recorded")
        assert f"allow {event}" not in run.said()
        code, shown = allowed(tmp_path, event)
        assert code != 0
        assert "Add the folder there" in shown
        plan = diary.with_name("plan")
        event = event_in(texts(call(run, "read_in_own_folders", plan))[1])
        until(lambda: "Wanted to use" in explain(tmp_path, event)[1], "it is recorded")
        shown = explain(tmp_path, event)[1]
        assert "let it pass" not in shown
        assert "itself refused" in shown
        assert "Add the folder to its arguments" in shown, "the same as `allow`, of no file either"
