"""A record of real Sessions replays without a difference, whatever happened in them."""

from pathlib import Path

import pytest

from pipeguard.firewall.finding import Action
from pipeguard.firewall.policy import Layer, Policy
from pipeguard.firewall.session import events
from pipeguard.firewall.session.decisions import Granted, Waited, WaitEnded
from pipeguard.firewall.session.own_frames import ServerGone
from pipeguard.state.record.lines import Fields, RecordError
from pipeguard.transports.pump import take_event
from tests.conversation import load, paths, play_conversation
from tests.each import each
from tests.firewall import test_replay as dice
from tests.firewall.session import talk
from tests.replay.recording import Recording, list_differences, replay

ASKING = Policy(layers=(Layer(tools_ask=("send",)),))
PLANT = "The plant in the valley closes by spring, the northern one takes over its orders"


def is_same(report: Fields) -> bool:
    return list_differences(report) == {}


# A surrogate in base64 is not at the same place as the secret in another text (state.record).
OTHERS = {"a-value-of-the-environment-does-not-leave-in-any-spelling"}


@each("path", {path.stem: path for path in paths() if path.stem not in OTHERS})
def test_each_conversation_replays(tmp_path_factory: pytest.TempPathFactory, path: Path) -> None:
    """Of frames over the limit only their size is recorded, and few others are withheld."""
    recording = Recording(tmp_path_factory.mktemp("record"))
    play_conversation(load(path), recording.join)
    assert is_same(replay(recording.end()))


def test_any_events_replay(tmp_path_factory: pytest.TempPathFactory) -> None:
    for seed in range(dice.SESSIONS // 5):
        policy, taken, _ = dice.play(seed)
        recording = Recording(tmp_path_factory.mktemp("record"))
        session = dice.begin(policy)
        recording.join(session)
        for event in taken:
            take_event(session, event)
        assert is_same(replay(recording.end())), seed


def test_decisions_about_calls_replay(tmp_path: Path) -> None:
    """By another policy too, which asks about one call more, and stops a granted one."""
    recording = Recording(tmp_path, ASKING)
    granted, waiting, left = (recording.client(talk.call(n, "x", "send")) for n in (1, 2, 3))
    assert recording.take(Granted(granted, 5.0, "RUN0.c1")).forward
    assert recording.take(Waited(waiting, 60.0, is_last=True)).action is Action.BLOCK
    recording.take(WaitEnded(left, 61.0, "its client left"))
    assert recording.server(talk.answer(1, "sent")).forward
    recording.client(talk.call(4, "x"))
    recording.server(talk.answer(4, "yes"))
    file = recording.end()
    assert is_same(replay(file))
    blocking = Policy(layers=(Layer(tools_block=("send",), tools_ask=("echo",)),))
    differences = list_differences(replay(file, blocking))
    assert differences["stopped"] == [
        "RUN0.c4 policy.tool allow block",
        "RUN0.c7 policy.ask allow ask",
    ]
    assert {line.split(" ", 1)[1] for line in differences["changed"]} == {
        "policy.tool ask block",
        "policy.tool block block",
    }


def test_flows_over_two_servers_replay(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.client(talk.call(1, "plan.md", "read_file"), "files")
    recording.server(talk.answer(1, f"{PLANT}."), "files")
    sent = recording.client(talk.call(1, PLANT, "http_post"), "web")
    assert "flows.private-out" in talk.rules(sent)
    assert is_same(replay(recording.end()))


def test_changes_exchanges_and_own_frames_replay(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    session = recording.session()
    exchanges = [session.fork(), session.fork()]
    for exchange in exchanges:  # with the same id
        recording.sessions["demo"] = exchange
        recording.client(talk.call(1, f"{exchange.exchange}"))
    for exchange in reversed(exchanges):
        recording.sessions["demo"] = exchange
        assert recording.server(talk.answer(1, "yes")).forward
        exchange.leave()
    recording.sessions["demo"] = session
    recording.take(events.PolicyChanged(ASKING._replace(mode=talk.OBSERVE.mode), 5.0))
    recording.take(
        events.PinsChanged({("tool", "b"): talk.waits(talk.tool("b"), "review", name="b")}, 6.0)
    )
    assert recording.client(talk.call(2, "x", "send")).action is Action.WARN
    recording.take(ServerGone(7.0))
    recording.take(events.PolicyChanged(Policy(), 8.0))
    assert recording.client(talk.call(3, "x", "b")).action is Action.BLOCK
    assert is_same(replay(recording.end()))


def test_what_was_taken_out_comes_back(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.client(talk.call(1, "env"))
    long = "Long text. " * 99
    seen = recording.server(talk.answer(1, f"{talk.KEY}\n{long}\n{talk.ORDER}\n{long}"))
    assert {"secrets.github-token", "injection.override-instructions"} <= {*talk.rules(seen)}
    text = talk.member(seen.forward, "result", "content")
    again = recording.client(talk.call(2, text[0]["text"]))  # type: ignore[index]  # JSON
    assert "secrets.put-back" in talk.rules(again)
    assert is_same(replay(recording.end()))


def test_answers_to_what_a_record_lacks_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path)
    monkeypatch.setattr(
        recording.tape._masker,
        "mask_frame",
        lambda _guard, _direction, frame, **_: None if b"private" in frame else frame,
    )
    for number, (asked, answered) in enumerate([("private", "a"), ("b", "private")]):
        recording.client(talk.call(number, asked))
        recording.server(talk.frame(method="notifications/progress", params={"progress": 1}))
        recording.server(talk.answer(number, answered))
    comparison = replay(recording.end())
    assert is_same(comparison)
    assert comparison["withheld"] == 2


def test_a_killed_session_is_played_to_its_end(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    for number in range(3):
        recording.client(talk.call(number, "x"))
    file = recording.end()
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-2]) + lines[-2][:40])
    comparison = replay(file)
    assert comparison["frames"] == 2
    file.write_bytes(b"".join([*lines[:3], lines[3].replace(b"x", b"y"), *lines[4:]]))
    with pytest.raises(RecordError, match="line 4"):
        replay(file)
