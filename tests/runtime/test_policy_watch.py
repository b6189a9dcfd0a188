"""The policy of a run follows its file and the calendar; what is wrong in it changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeguard.config.options import WrapOptions
from pipeguard.core.finding import Action, Confidence, Severity
from pipeguard.core.rules.policy import Exempt, Layer, Mode, Policy, PolicyTarget, Selector
from pipeguard.runtime import policy_watch
from pipeguard.runtime.policy_watch import PolicyWatch

TARGET = PolicyTarget("secrets.jwt", Severity.HIGH, Confidence.HIGH, "call.arguments", "demo", None)
EXCEPTION = "exceptions: [{rule: secrets.jwt, server: demo, why: w}]\n"


class Rounds(threading.Event):
    """Stands for the event that a run is over: it is, after so many waits, each with an act."""

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


class Heard:
    """A log."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def __call__(self, level: str, event: str, **fields: object) -> None:
        self.lines.append((level, event, fields))


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
    adopted: list[Policy] = []
    log = Heard()
    watch.follow(adopted.append, log, Rounds(*acts))
    return adopted, log


def test_an_exception_applies_once_it_is_written_and_no_longer_once_it_is_removed(
    path: Path,
) -> None:
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
    adopted, log = followed(watch_of(path), lambda: path.write_text("mod: observe\n"))
    assert [allows(policy) for policy in adopted] == [True]
    ((level, event, fields),) = log.lines
    assert (level, "what applied before applies on" in event) == ("error", True)
    assert "line 1, column 1: mod" in str(fields["why"])


def test_a_file_that_others_may_write_changes_nothing(path: Path) -> None:
    def open_it() -> None:
        path.write_text(EXCEPTION)
        path.chmod(0o666)

    adopted, log = followed(watch_of(path), open_it)
    assert not any(map(allows, adopted))
    assert log.lines[0][0] == "error"


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


@pytest.mark.parametrize(("slept_seconds", "holds"), [(0.0, True), (59.0, True), (61.0, False)])
def test_an_exception_ends_by_the_calendar_also_where_the_machine_slept(
    path: Path, slept_seconds: float, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(path)
    exempt = Exempt(Selector(rule="secrets.*"), "a test token", until=100.0)
    watch.adjust(lambda policy: policy._replace(layers=(Layer(exceptions=(exempt,)),)))
    watch._offset = 1000.0 - 40.0
    monkeypatch.setattr(policy_watch, "time", lambda: 1000.0 + slept_seconds)
    monkeypatch.setattr(policy_watch, "monotonic", lambda: 40.0)
    adopted, _ = followed(watch, lambda: None)
    assert (adopted[0].action(TARGET, 40.0) is Action.ALLOW) is holds
