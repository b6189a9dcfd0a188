"""`--connect`: bad servers are found, good ones are not blamed, and none harms the caller."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import monotonic

import pytest

from pipeguard.assess.assessing import assess
from pipeguard.assess.connecting import ConnectOptions, connect
from pipeguard.assess.target import AssessmentTarget, Contents
from pipeguard.auth import ring, secrets
from pipeguard.config.directories import cache_folder
from pipeguard.firewall.finding import PinChange, Severity
from pipeguard.firewall.pins.fingerprint import canonical
from pipeguard.firewall.policy import Layer, Policy
from pipeguard.identity.server_name import identify_server
from pipeguard.state.store import open_store
from tests import tools
from tests.assess.places import Entry, machine, of, repository
from tests.auth.conftest import KEYRING
from tests.listening import Listening

BAD = Path(__file__).parent / "bad_server.py"
POISONED = [
    *("description", "tag", "hidden", "base64", "parameter", "title", "name", "output"),
    *("prompt", "resource", "template", "instructions", "page"),
]
MOST_SECONDS = 180  # only a hang takes so long


def bad(kind: str, **more: object) -> Entry:
    return {"command": sys.executable, "args": ["-I", str(BAD), kind], **more}


def asked(target: AssessmentTarget, how: ConnectOptions | None = None) -> AssessmentTarget:
    def tell(done: int, count: int, name: str) -> None:
        assert 1 <= done <= count

    return replace(target, contents=connect(target, how or ConnectOptions(), Policy(), tell))


def contents(target: AssessmentTarget) -> dict[str, Contents]:
    return {one.name: target.contents[one.file, one.path] for one in target.servers}


@pytest.fixture(scope="module")
def every_bad(tmp_path_factory: pytest.TempPathFactory) -> AssessmentTarget:
    return asked(machine(tmp_path_factory.mktemp("h"), {kind: bad(kind) for kind in POISONED}))


@pytest.mark.parametrize("kind", POISONED)
def test_a_bad_server_is_found_out(every_bad: AssessmentTarget, kind: str) -> None:
    found = [one for one in of(every_bad, "definition-flagged") if one.server == kind]
    assert max(one.severity for one in found) >= Severity.HIGH


def test_good_servers_are_not_blamed_and_no_tool_is_called(tmp_path: Path) -> None:
    called = tmp_path / "called"
    kinds = ("clean", "asks", "noise", "shell")
    servers = {kind: bad(kind, env={"CALLED": str(called)}) for kind in kinds}
    target = asked(machine(tmp_path, servers))
    assert of(target, "definition-flagged") == []
    assert of(target, "server-not-answering") == []
    assert {len(one.offers) for one in contents(target).values()} == {1}
    assert not called.exists()


def test_a_server_has_an_empty_home_and_no_secret(tmp_path: Path) -> None:
    env = {"API_KEY": "zq7" + "Rt55Kp0s81LmVw", "MODE": "fast"}
    target = asked(machine(tmp_path, {"one": bad("home", env=env)}))
    names = {offer.name for offer in contents(target)["one"].offers}
    assert "has_mode" in names
    assert "has_api_key" not in names
    (home,) = (name for name in names if name.startswith("home_"))
    assert int(home.removeprefix("home_")) <= 4  # folders that were made for it


def test_with_credentials_it_has_its_secrets_also_from_the_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", KEYRING)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(ring, "_chosen", False)
    secrets.store("kept", "zq7" + "Rt55Kp0s81LmVw")
    servers = {name: bad("home", env={"API_KEY": f"keyring:{name}"}) for name in ("kept", "lost")}
    servers["argued"] = bad("home", args=["-I", str(BAD), "home", "--key=keyring:kept"])
    servers["plain"] = bad("home", env={"API_KEY": "zq7" + "Rt55Kp0s81LmVw"})
    found = contents(asked(machine(tmp_path, servers), ConnectOptions(credentials=True)))
    names = {offer.name for offer in found["kept"].offers}
    assert "has_api_key" in names
    assert "has_api_key" in {offer.name for offer in found["plain"].offers}
    assert "has_reference" not in names
    assert "has_reference" not in {offer.name for offer in found["argued"].offers}
    assert "the keyring has no secret 'lost'" in found["lost"].problem
    found = contents(asked(machine(tmp_path, servers)))
    assert not {"has_api_key", "has_reference"} & {offer.name for offer in found["kept"].offers}


def test_servers_that_do_not_behave_are_told_and_cost_their_time_alone(tmp_path: Path) -> None:
    kinds = ("silent", "dies", "endless")
    servers = {kind: bad(kind) for kind in (*kinds, "clean")}
    servers["gone"] = {"command": "no-such-program"}
    began = monotonic()
    limit = ConnectOptions(limit_seconds=8.0)  # in which a busy machine starts the good one
    target = asked(machine(tmp_path, servers), limit)
    assert monotonic() - began < MOST_SECONDS
    assert {one.server for one in of(target, "server-not-answering")} == {*kinds, "gone"}
    assert contents(target)["clean"].problem == ""


def test_a_server_that_the_policy_does_not_allow_is_not_asked(tmp_path: Path) -> None:
    called = tmp_path / "started"
    servers: dict[str, Entry] = {
        "here": {"command": "touch", "args": [str(called)]},
        "there": {"type": "http", "url": "http://127.0.0.1:9/mcp"},
    }
    policy = Policy(layers=(Layer(servers_block=("*",)),))
    target = machine(tmp_path, servers)
    found = connect(target, ConnectOptions(), policy, lambda *_: None)
    assert all("may not run" in one.problem for one in found.values())
    assert not called.exists()


def test_a_remote_that_is_not_there(tmp_path: Path) -> None:
    target = machine(tmp_path, {"one": {"url": "http://127.0.0.1:9/mcp"}})
    began = monotonic()
    assert contents(asked(target, ConnectOptions(limit_seconds=3.0)))["one"].problem
    assert monotonic() - began < 30


def test_a_remote_server_is_asked(tmp_path: Path) -> None:
    with Listening(tmp_path, "--", sys.executable, "-I", str(BAD), "clean") as listening:
        at_socket = listening.at("/ws").replace("http", "ws", 1)
        servers: dict[str, Entry] = {
            "http": {"url": listening.at("/mcp")},
            "sse": {"url": listening.at("/sse"), "type": "sse"},
            "socket": {"url": at_socket},
            "named socket": {"url": at_socket, "type": "ws"},
        }
        found = contents(asked(machine(tmp_path, servers)))
    offered = {name: (each.problem, *(o.name for o in each.offers)) for name, each in found.items()}
    assert offered == dict.fromkeys(servers, ("", "echo"))


def test_a_guarded_server_is_asked_without_a_second_guard(tmp_path: Path) -> None:
    words = [sys.executable, "-I", str(BAD), "description"]
    entry = {"command": "pipeguard", "args": ["wrap", "--", *words]}
    target = asked(machine(tmp_path, {"one": entry}))
    assert of(target, "definition-flagged")


def test_a_project_s_server_is_started_in_its_project(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(BAD.read_text())
    entry = {"command": sys.executable, "args": ["-I", "server.py", "clean"]}
    target = asked(repository(tmp_path, {"one": entry}))
    assert contents(target)["one"].problem == ""


def test_what_tools_do_together_is_sure_once_they_were_asked(tmp_path: Path) -> None:
    from dataclasses import replace

    from pipeguard.assess.target import Offer
    from pipeguard.detect.flows.tool_labels import Label

    servers = {"a": {"command": "a"}, "b": {"command": "b"}}
    target = machine(tmp_path, servers)
    labels = (Label.READS_PRIVATE, Label.TAKES_IN | Label.SENDS | Label.OUTSIDE)
    known = {
        (one.file, one.path): Contents(offers=(Offer("tool", one.name, label),))
        for one, label in zip(target.servers, labels, strict=True)
    }
    (found,) = of(replace(target, contents=known), "toxic-flow")
    assert found.severity is Severity.MEDIUM


def test_a_server_that_changed_since_it_was_approved(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(BAD), "clean"]
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    target = machine(tmp_path, {"one": bad("clean")})
    assert of(asked(target), "definition-drifted") == []
    old = b'{"name": "echo", "description": "Echo it.", "inputSchema": {"type": "object"}}'
    text = canonical(json.loads(old)).decode()
    change = PinChange("tool", "echo", sha256(text.encode()).hexdigest(), text, False, "")
    with open_store(state / "pipeguard.db") as store:
        store.remember(identify_server(command).name, [change])
    again = machine(tmp_path, {"one": bad("clean")})
    (found,) = of(asked(again), "definition-drifted")
    assert found.fix == ("pipeguard", "diff", f"{identify_server(command).name}/echo")


@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.exhaustive)])
def test_many_servers_are_asked_at_once(tmp_path: Path, count: int) -> None:
    servers = {f"s{i}": bad("clean", env={"NUMBER": str(i)}) for i in range(count)}
    began = monotonic()
    target = asked(machine(tmp_path, servers))
    seconds = monotonic() - began
    assert len(target.contents) == count
    assert {one.problem for one in target.contents.values()} == {""}
    assert seconds < MOST_SECONDS


def reference_servers(folder: Path) -> Mapping[str, Entry]:
    node = {"PATH": tools.path_with_node()}
    npm = {
        name: {"command": str(tools.npm_bin(f"mcp-server-{name}")), "args": args, "env": dict(node)}
        for name, args in (
            ("everything", []),
            ("filesystem", [str(folder)]),
            ("memory", []),
            ("sequential-thinking", []),
        )
    }
    python = {
        name: {"command": str(tools.server_bin(f"mcp-server-{name}")), "args": []}
        for name in ("fetch", "git", "time")
    }
    return {**npm, **python}


@pytest.mark.real
@pytest.mark.needs("git")
def test_reference_servers_have_no_finding_above_low_but_that_they_are_open(tmp_path: Path) -> None:
    servers = reference_servers(tmp_path)
    target = asked(machine(tmp_path, servers))
    assert {name: one.problem for name, one in contents(target).items()} == dict.fromkeys(
        servers, ""
    )
    assert all(one.offers for one in contents(target).values())
    above = {
        (one.check, one.server, one.message)
        for one in assess(target).findings
        if one.severity > Severity.LOW
    }
    # True of them: nothing guards them, and together they can read, fetch and send.
    assert {check for check, _, _ in above} <= {"server-not-guarded", "toxic-flow"}


def test_servers_are_started_where_nobody_else_can_put_packages(tmp_path: Path) -> None:
    record = tmp_path / "record"
    script = f"import os; open({str(record)!r}, 'w').write(os.getcwd())"
    asked(machine(tmp_path, {"one": {"command": sys.executable, "args": ["-c", script]}}))
    folder = Path(record.read_text())
    assert Path(cache_folder()).resolve() in folder.resolve().parents
    assert not folder.exists()
