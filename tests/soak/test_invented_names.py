"""Names that a peer invents, as large as allowed, leave only a bounded rest in memory."""

import gc
import json
import tracemalloc
from itertools import count

import pytest

from pipeguard import Direction, Frame, Policy, Session, Verdict, make_guard
from tests.fuzz.rulebook import engines

LEFT_BYTES = 4 * 2**20  # caches of short words, which are the process's own
WIDE = "\N{GRINNING FACE}"
TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


def frame(**members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


class Inventive:
    """Two peers that give all that can have a name a new one."""

    def __init__(self) -> None:
        guard = make_guard("demo", engines(), Policy(), {}, b"k" * 32)
        self.session = Session(guard, "RUN", "2025-11-25")
        self.numbers = count()

    def name(self, length: int) -> str:
        number = f"{next(self.numbers)}"
        return (number + "n" * length)[: length - 1] + WIDE

    def tell(self, direction: Direction, **members: object) -> Verdict:
        return self.session.take(Frame(direction, frame(**members), next(self.numbers) / 100))

    def round(self) -> int:
        """Send about twenty frames, half of which are never answered."""
        tell, name = self.tell, self.name
        for method in ("tools/call", "prompts/get", "resources/read", "no/" + name(150)):
            meta = {"progressToken": name(200)}
            params = {"name": name(4000), "uri": name(4000), "arguments": {name(300): name(90)}}
            tell(TO_SERVER, id=name(200), method=method, params=params | {"_meta": meta})
        answered = name(200)
        tell(TO_SERVER, id=answered, method="tools/list")
        tools = [{"name": name(500), "description": name(3000)} for _ in range(5)]
        tell(TO_CLIENT, id=answered, result={"tools": tools, "requestState": name(500)})
        called, token = name(200), name(200)
        params = {"name": name(500), "arguments": {"a": name(90)}}
        tell(
            TO_SERVER,
            id=called,
            method="tools/call",
            params={**params, "_meta": {"progressToken": token}},
        )
        tell(
            TO_CLIENT,
            method="notifications/progress",
            params={"progressToken": token, "progress": 1},
        )
        tell(
            TO_CLIENT,
            id=called,
            result={"task": {"taskId": name(500)}, "inputRequests": {name(500): {}}},
        )
        cancelled = name(200)
        tell(TO_SERVER, id=cancelled, method="resources/subscribe", params={"uri": name(900)})
        tell(TO_SERVER, method="notifications/cancelled", params={"requestId": cancelled})
        tell(TO_CLIENT, method="notifications/" + name(150), params={name(200): name(200)})
        tell(TO_CLIENT, id=name(200), method="roots/list", params={"_meta": {name(200): 1}})
        tell(TO_CLIENT, id=name(200), result={name(200): 1})
        return 14


@pytest.mark.parametrize(
    ("least", "most_mib"), [(300, 12), pytest.param(3000, 50, marks=pytest.mark.exhaustive)]
)
def test_what_is_invented_is_bounded_and_given_back(least: int, most_mib: int) -> None:
    Inventive().round()  # what is loaded once
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        one, frames = Inventive(), 0
        while frames < least:
            frames += one.round()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        del one
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"{frames} frames: {(held - before) / 2**20:.1f} MiB, left {(left - before) / 2**20:.1f}")
    assert held - before < most_mib * 2**20
    assert left - before < LEFT_BYTES
