"""The only loop: read, judge, record, write, in this order. transports/pump.py."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pipeguard import Action, Direction, Frame, Verdict
from pipeguard.transports.both_ways import BlockingChannel, run_alone
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.pump import make_judge, pump

TO_SERVER = Direction.TO_SERVER


class Listed:
    """A Channel over lists, which notes each act in a common diary."""

    def __init__(self, name: str, diary: list[str], frames: list[bytes] | None = None) -> None:
        self.name = name
        self.diary = diary
        self.frames = list(frames or [])
        self.written: list[bytes] = []
        self.open = True

    def read(self) -> bytes | None:
        self.diary.append(f"read {self.name}")
        return self.frames.pop(0) if self.frames else None

    def write(self, frame: bytes) -> None:
        if not self.open:
            raise ChannelClosed(self.name)
        self.diary.append(f"write {self.name}")
        self.written.append(frame)

    def close(self) -> None:
        self.open = False


class Judge:
    """A Session that judges by the frame's first letter."""

    tape = None
    guard = SimpleNamespace(
        shared=SimpleNamespace(obstacles=None),
        detector=SimpleNamespace(ledger=SimpleNamespace(client=None)),
    )

    def __init__(self, diary: list[str]) -> None:
        self.diary = diary
        self.times: list[float] = []

    def take(self, event: Frame) -> Verdict:
        direction, frame, now, *_ = event
        self.diary.append("judge")
        self.times.append(now)
        passes, answered = frame[:1] in b"pb", frame[:1] in b"ab"
        forward, reply = frame if passes else None, b"no: " + frame if answered else None
        return Verdict(direction, frame, Action.ALLOW, forward, reply, (), "EVENT")


def pump_alone(
    judge: Judge, source: Listed, sink: Listed, record: Callable[[Verdict], None]
) -> None:
    channels = BlockingChannel(source), BlockingChannel(sink)
    run_alone(pump(judge, TO_SERVER, *channels, make_judge(record)))  # type: ignore[arg-type]


def run(frames: list[bytes]) -> tuple[Listed, Listed, list[Verdict], list[str]]:
    diary: list[str] = []
    source, sink = Listed("source", diary, frames), Listed("sink", diary)
    recorded: list[Verdict] = []

    def record(verdict: Verdict) -> None:
        diary.append("record")
        recorded.append(verdict)

    judge = Judge(diary)
    pump_alone(judge, source, sink, record)
    assert judge.times == sorted(judge.times)
    return source, sink, recorded, diary


def test_a_frame_that_passes_goes_on_as_the_object_that_came() -> None:
    frame = b"pass"
    source, sink, recorded, diary = run([frame])
    assert sink.written[0] is frame
    assert source.written == []
    assert [verdict.frame for verdict in recorded] == [frame]
    assert diary == ["read source", "judge", "record", "write sink", "read source"]


@pytest.mark.parametrize(
    ("frame", "back", "on"),
    [
        (b"answered", [b"no: answered"], []),
        (b"both", [b"no: both"], [b"both"]),
        (b"dropped", [], []),
    ],
)
def test_a_frame_is_recorded_wherever_it_goes(
    frame: bytes, back: list[bytes], on: list[bytes]
) -> None:
    source, sink, recorded, _ = run([frame])
    assert (source.written, sink.written, len(recorded)) == (back, on, 1)


def test_a_peer_that_is_gone_ends_it_after_the_record() -> None:
    diary: list[str] = []
    source, sink = Listed("source", diary, [b"pass", b"pass"]), Listed("sink", diary)
    sink.close()
    recorded: list[Verdict] = []
    with pytest.raises(ChannelClosed, match="sink"):
        pump_alone(Judge(diary), source, sink, recorded.append)
    assert len(recorded) == 1
    assert source.frames == [b"pass"]


def test_what_cannot_be_recorded_does_not_pass() -> None:
    diary: list[str] = []
    source, sink = Listed("source", diary, [b"pass"]), Listed("sink", diary)

    def refuse(verdict: Verdict) -> None:
        raise ChannelClosed(verdict.event)

    with pytest.raises(ChannelClosed, match="EVENT"):
        pump_alone(Judge(diary), source, sink, refuse)
    assert sink.written == []
