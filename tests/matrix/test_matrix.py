"""A client's view through PipeGuard equals its direct view, whatever the transports."""

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.matrix.cells import CLIENTS, STATELESS, Cell, Matrix, Seen, baseline, cells, sessions

pytestmark = pytest.mark.real
CELLS = cells()
# Those in which every client, and every transport of a client and of a server, is met once.
OFTEN = [
    cell
    for cell in CELLS
    if (cell.client, cell.near, cell.far)
    in {
        ("python", "stdio", "http"),
        ("python", "sse", "sse"),
        ("typescript", "http", "stdio"),
        ("python-1", "websocket", "stdio"),
        ("typescript-1", "websocket", "sse"),
        ("typescript", "stdio", "websocket"),
    }
]


def each(all_cells: Iterable[Cell], often: Collection[Cell]) -> list[Any]:
    """Make parameters from cells; the rare ones are for `make exhaustive`."""
    return [
        cell if cell in often else pytest.param(cell, marks=pytest.mark.exhaustive)
        for cell in all_cells
    ]


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[Cell, Seen]:
    """Play the requested cells, and those that each is compared with."""
    asked = {
        cell
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        if isinstance(cell := item.callspec.params.get("cell"), Cell)
    }
    needed = sorted({*asked, *map(baseline, asked)})
    folder = tmp_path_factory.mktemp("matrix")
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        matrix = Matrix(folder, stack)

        def play(server: str, *clients: str) -> dict[Cell, Seen]:
            """The cells of one server, by one client after the other."""
            found: dict[Cell, Seen] = {}
            for client in clients:
                mine = [c for c in needed if (c.server, c.client) == (server, client)]
                found |= matrix.play(client, mine)
            return found

        # What one client lets the stateless server announce, every other would be told.
        jobs = [pool.submit(play, "handshake", client) for client in CLIENTS]
        jobs.append(pool.submit(play, "stateless", *STATELESS))
        return {cell: seen for job in jobs for cell, seen in job.result().items()}


@pytest.mark.parametrize(
    "cell", each(sorted(set(map(baseline, CELLS))), set(map(baseline, OFTEN))), ids=str
)
def test_a_session_without_pipeguard_goes_as_planned(played: dict[Cell, Seen], cell: Cell) -> None:
    seen = played[cell]
    assert seen.broken == ""
    steps = sessions()[cell.server]
    outcomes = [step["failed"] for step in seen.steps[1:]]  # the first is the handshake
    assert outcomes == [step.get("fails", False) for step in steps], list(
        zip(steps, seen.steps[1:], strict=True)
    )


@pytest.mark.parametrize("cell", each(CELLS, OFTEN), ids=str)
def test_the_client_sees_the_same_through(played: dict[Cell, Seen], cell: Cell) -> None:
    through, direct = played[cell], played[baseline(cell)]
    assert through.broken == ""
    assert through.steps == direct.steps
    assert through.heard == direct.heard
