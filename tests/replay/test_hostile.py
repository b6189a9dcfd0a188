"""Whatever is in a record, it is played or refused."""

import json
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeguard.firewall.policy import Layer, Policy
from pipeguard.firewall.session.decisions import Granted
from pipeguard.firewall.session.events import PinsChanged, PolicyChanged
from pipeguard.replay.comparison import render
from pipeguard.state.record.lines import RecordError, read_lines, seal, to_text
from tests.each import each
from tests.firewall.session import talk
from tests.replay.recording import Recording, replay

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["RUN0.c1", "RUN0.", ".", "x" * 999, 10**400, -1, "policy", "left"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    policy = Policy(layers=(Layer(tools_ask=("send",)),))
    pin = talk.pinned(talk.tool("echo"), name="echo")
    recording = Recording(tmp_path_factory.mktemp("record"), policy, pin)
    stopped = recording.client(talk.call(1, "x", "send"))
    recording.take(Granted(stopped, 5.0, "RUN0.c1"))
    recording.server(talk.answer(1, "sent"))
    recording.take(PinsChanged({("tool", "echo"): pin}, 6.0))
    recording.take(PolicyChanged(Policy(), 7.0))
    recording.client(talk.call(2, "y"))
    return [fields for _, fields in read_lines(recording.end())]


def write(path: Path, texts: list[str]) -> Path:
    before, written = b"", b""
    for text in texts:
        before, line = seal(before, text)
        written += line
    path.write_bytes(written)
    return path


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_any_fields_are_played_or_refused(tmp_path: Path, lines: list[Any], data: Any) -> None:
    changed = deepcopy(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = data.draw(st.sampled_from(changed))
        while place:
            key = data.draw(
                st.sampled_from([*place] if isinstance(place, dict) else range(len(place)))
            )
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(VALUES)
                break
            place = place[key]
    try:
        report = replay(write(tmp_path / "record.jsonl", [to_text(fields) for fields in changed]))
    except RecordError:
        return
    assert json.dumps(report)
    assert render(report)
    assert render(report, "junit")


MANY = 10**6
OPENED = '{"n":9,"t":9,"server":"demo","session":"RUN0"'
HUGE = {
    "a line of brackets": f'{OPENED},"what":{"[" * MANY}{"]" * MANY}',
    "an answer of brackets": f'{OPENED},"what":"asked","of":{"[" * MANY}{"]" * MANY}',
    "a frame of brackets": {"frame": "[" * MANY},
    "a long number": {"frame": "{}", "event": f"RUN0.c{'9' * 5_000}"},
}


@each("huge", HUGE)
def test_huge_lines_are_played_or_refused(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Any], huge: str | dict[str, Any]
) -> None:
    frame = next(fields for fields in lines if fields.get("from") == "client")
    last = huge if isinstance(huge, str) else to_text(frame | huge)
    path = tmp_path_factory.mktemp("huge") / "huge.jsonl"
    with suppress(RecordError):
        replay(write(path, [*map(to_text, lines[:-1]), last]))
