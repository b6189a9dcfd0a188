"""The policy of a run follows its file and the calendar; an invalid one changes nothing."""

import datetime
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.config import effective_policy, organisation
from pipeguard.config.options import WrapOptions
from pipeguard.config.policy_file import PolicyFile, PolicyScope
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Action, Confidence, Severity
from pipeguard.firewall.policy import (
    ActionEntry,
    Exempt,
    Layer,
    Mode,
    Policy,
    PolicyTarget,
    Selector,
    Trust,
)
from pipeguard.rulebook.policy_rules import read_sources
from pipeguard.runtime import policy_watch
from pipeguard.runtime.policy_watch import PolicyWatch, loosens
from tests.bundles import enrol, make_token
from tests.state.conftest import Heard

TARGET = PolicyTarget("secrets.jwt", Severity.HIGH, Confidence.HIGH, "call.arguments", "demo", None)
EXCEPTION = "exceptions: [{rule: secrets.jwt, server: demo, why: w}]\n"


class Rounds(threading.Event):
    """Stands for the event that a run is over: it is, after a number of waits, each with an act."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        super().__init__()
        self.acts = list(acts)

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout < 1, "a change applies within a second"
        if not self.acts:
            return True
        self.acts.pop(0)()
        return False


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("mode: enforce\n")
    path.chmod(0o600)
    return path


def watch_of(path: Path) -> PolicyWatch:
    return PolicyWatch(WrapOptions([], {"--policy": str(path)}, {}, []))


def allows(policy: Policy) -> bool:
    return policy.action(TARGET, 0.0) is Action.ALLOW


def followed(watch: PolicyWatch, *acts: Callable[[], object]) -> tuple[list[Policy], Heard]:
    """Return the policies that are adopted if after each act the files are unchanged for a look."""
    return looked(watch, *(step for act in acts for step in (act, lambda: None)))


def looked(watch: PolicyWatch, *acts: Callable[[], object]) -> tuple[list[Policy], Heard]:
    """Return the policies that are adopted if there is an act before each look."""
    adopted: list[Policy] = []
    log = Heard()
    watch.follow(adopted.append, log, Rounds(*acts))
    return adopted, log


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's policy, which blocks x."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = folder / ".pipeguard.yaml"
    path.write_text("tools: {block: [x]}\n")
    return path


def test_an_exception_applies_from_its_writing_to_its_removal(path: Path) -> None:
    watch = watch_of(path)
    adopted, log = followed(
        watch,
        lambda: path.write_text(EXCEPTION),
        lambda: None,
        lambda: path.write_text("mode: enforce\n"),
    )
    assert [allows(policy) for policy in adopted] == [True, False]
    assert [(level, fields) for level, _, fields in log.lines] == [
        ("info", {"exceptions_added": 1, "exceptions_removed": 0}),
        ("info", {"exceptions_added": 0, "exceptions_removed": 1}),
    ]


def test_a_file_that_is_wrong_changes_nothing(path: Path) -> None:
    path.write_text(EXCEPTION)
    watch = watch_of(path)
    adopted, log = followed(watch, lambda: path.write_text("mod: observe\n"))
    assert adopted == []
    assert allows(watch.policy)
    ((level, event, fields),) = log.lines
    assert (level, "the earlier policy stays in effect" in event) == ("error", True)
    assert "line 1, column 1: mod" in str(fields["why"])
    path.write_text("mode: enforce\n")
    path.chmod(0o666)  # others may write it
    adopted, log = followed(watch, lambda: None)
    assert (adopted, [level for level, *_ in log.lines]) == ([], ["error"])


def test_a_rule_that_does_not_exist_is_wrong_at_the_start_and_later(path: Path) -> None:
    wrong = "actions: [{rule: secrets.jwd, action: block}]\n"
    _, log = followed(watch_of(path), lambda: path.write_text(wrong))
    assert "Did you mean `secrets.jwt`?" in str(log.lines[0][2]["why"])
    with pytest.raises(PolicyError, match=r"no rule matches `secrets\.jwd`"):
        watch_of(path)


def test_what_is_not_decided_by_message_waits_for_the_next_start(path: Path) -> None:
    adopted, log = followed(
        watch_of(path), lambda: path.write_text("mode: observe\ntools: {block: [x]}\n")
    )
    (policy,) = adopted
    assert policy.mode is Mode.ENFORCE
    assert not policy.calls("x")
    assert "restart the server" in str(log.lines[0][2]["do"])


def test_a_servers_own_layers_stay(path: Path) -> None:
    watch = watch_of(path)
    extra = Layer(tools_block=("secret_*",), defaults=False)
    watch.adjust(lambda policy: policy._replace(layers=(*policy.layers, extra)))
    assert not watch.policy.calls("secret_door")
    adopted, _ = followed(watch, lambda: path.write_text(EXCEPTION))
    assert not adopted[0].calls("secret_door")
    assert allows(adopted[0])


@pytest.mark.parametrize("days", [-1.0, 0.0, 1.0])
def test_an_exception_ends_by_the_calendar_also_where_the_machine_slept(
    path: Path, days: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.datetime.now().date()  # noqa: DTZ005  the user's own calendar
    path.write_text(EXCEPTION.replace("why", f"until: {today}, why"))
    watch = watch_of(path)
    before = watch.policy.layers[0].exceptions[0].until
    now, clock = time.time() + days * 86_400, effective_policy._find_now()
    monkeypatch.setattr(policy_watch, "time", lambda: now)
    monkeypatch.setattr(effective_policy, "_find_now", lambda: (clock[0] - days, clock[1]))
    adopted, _ = followed(watch, lambda: None)
    assert bool(adopted) is bool(days), "a call that waits is judged again"
    assert (watch.policy.layers[0].exceptions[0].until == before) is not bool(days)


def test_a_file_is_not_read_while_it_is_written(path: Path) -> None:
    path.write_text("tools: {block: [x]}\n")
    adopted, log = looked(
        watch_of(path),
        lambda: path.write_text(""),
        lambda: path.write_text("mode: enforce\n"),
        lambda: path.write_text("mode: enforce\ntools: {block: [x, y]}\n"),
        lambda: None,
    )
    assert [(policy.calls("x"), policy.calls("y")) for policy in adopted] == [(False, False)]
    assert [level for level, *_ in log.lines] == ["info"]


def test_a_file_changed_while_read_is_reread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("tools: {block: [x]}\n")
    watch = watch_of(path)
    text = "tools: {block: [x, y]}\n"  # an agent that watches the file writes it at each read

    def read_slowly(
        options: WrapOptions, scopes: frozenset[PolicyScope]
    ) -> dict[PolicyScope, PolicyFile | PolicyError]:
        read = read_sources(options, scopes)
        path.write_text(text)
        return read

    monkeypatch.setattr(policy_watch, "read_sources", read_slowly)
    adopted, _ = looked(watch, lambda: path.write_text(""), *[lambda: None] * 3)
    assert [(policy.calls("x"), policy.calls("y")) for policy in adopted] == [(False, False)]


def test_another_file_of_the_same_size_and_time_is_a_change(path: Path) -> None:
    path.write_text("tools: {block: [x]}\n")
    before = path.stat()

    def write() -> None:
        with path.open("r+") as file:
            file.write("tools: {block: [y]}\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    adopted, _ = followed(watch_of(path), write)
    assert [policy.calls("y") for policy in adopted] == [False]


@pytest.mark.parametrize("text", ["", "tools: {block: [z]}\n", "nonsense: 1\n"])
def test_a_projects_file_takes_back_nothing_while_a_server_runs(
    path: Path, project: Path, text: str
) -> None:
    watch = watch_of(path)
    adopted, _ = followed(watch, lambda: project.write_text(text), project.unlink)
    assert adopted
    assert not any(policy.calls("x") for policy in adopted)
    assert watch_of(path).policy.calls("x"), "the next start goes by the file"


def test_a_wrong_projects_file_keeps_no_exception_alive(path: Path, project: Path) -> None:
    path.write_text(EXCEPTION)
    watch = watch_of(path)
    adopted, log = followed(
        watch,
        lambda: project.write_text("tools: {block: [x, y]}\n"),
        lambda: project.write_text("nonsense: 1\n"),
        lambda: path.write_text("mode: enforce\n"),
    )
    assert [allows(policy) for policy in adopted] == [True, False]
    assert not any(policy.calls("y") for policy in adopted), "it applied before"
    assert "nonsense" in str([fields for level, _, fields in log.lines if level == "error"])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    return tmp_path / "own" / "pipeguard"


def test_a_bundle_is_followed_whatever_the_users_file_has(path: Path, own: Path) -> None:
    bundles = enrol(own, make_token("trust: review\n"))
    watch = watch_of(path)
    stop = "servers: {block: ['*']}\nlimits: {ask: 9 s}\n"
    adopted, log = followed(
        watch,
        lambda: path.write_text("mod: observe\n"),
        lambda: bundles.write_text(make_token(stop, 2)),
        lambda: bundles.write_text("torn"),
        lambda: bundles.write_text(make_token("", 3, exp=1, after_expiry="block")),
        lambda: bundles.write_text(make_token("", 4)),
    )
    stops = [policy.explain_stop(("npm x",)) for policy in adopted]
    why = "npm x may not run: the organisation's policy{} does not allow it"
    assert stops == [why.format(""), why.format(", which has expired,"), ""]
    assert (adopted[0].trust, adopted[0].limits.ask_seconds) == (Trust.FIRST_USE, 9.0)
    assert [level for level, *_ in log.lines].count("error") == 2


def test_servers_end_when_a_bundle_does(
    path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = int(time.time()) + 900
    enrol(own, make_token(exp=ends, after_expiry="block"))
    watch = watch_of(path)
    monkeypatch.setattr(policy_watch, "time", lambda: ends + 1.0)
    monkeypatch.setattr(organisation, "time", lambda: ends + 1.0)
    adopted, _ = followed(watch, lambda: None)
    assert "expired" in adopted[0].explain_stop(("npm x",))


def test_a_file_that_never_stands_still_keeps_no_exception_alive(path: Path, project: Path) -> None:
    path.write_text(EXCEPTION)
    watch, count = watch_of(path), iter(range(9))

    def touch() -> None:
        project.write_text(f"tools: {{block: [x{next(count)}]}}\n")

    def tighten() -> None:
        path.write_text("mode: enforce\n")
        touch()

    assert 4 * policy_watch.LOOK_SECONDS <= 1, "it applies within a second"
    adopted, _ = looked(watch, tighten, touch, touch)
    assert [allows(policy) for policy in adopted] == [False]


def test_a_policy_loosens_if_something_passes_more_easily() -> None:
    jwt = Selector("secrets.jwt", tool="echo")
    warns = Policy(layers=(Layer((ActionEntry(jwt, Action.WARN),)),))
    exempt = Policy(layers=(Layer(exceptions=(Exempt(jwt, "why"),)),))
    narrow = Policy(layers=(Layer(tools_block=("delete_*",)),))
    for looser in (warns, exempt):
        assert loosens(looser, Policy())
        assert not loosens(Policy(), looser)
        assert not loosens(looser, looser)
    assert loosens(Policy(layers=(Layer(tools_block=(*map(str, range(999)),)),)), Policy())
    asks = Policy(layers=(Layer(tools_ask=("delete_*",)),))
    for wide, close in ((Policy(), narrow), (Policy(), asks), (asks, narrow)):
        assert loosens(wide, close)
        assert not loosens(close, wide)
