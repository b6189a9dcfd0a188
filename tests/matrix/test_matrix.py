"""What a client sees through PipeGuard is what it sees direct, whatever transports meet there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.matrix.cells import CLIENTS, Cell, Matrix, Seen, baseline, cells, sessions

pytestmark = pytest.mark.real
CELLS = cells()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Cell, Seen]]:
    """All cells, and what each is compared with; the clients play at once."""
    needed = sorted({*CELLS, *map(baseline, CELLS)})
    found: dict[Cell, Seen] = {}
    with ExitStack() as stack:
        matrix = Matrix(tmp_path_factory.mktemp("matrix"), stack)
        with ThreadPoolExecutor() as pool:
            for seen in pool.map(
                lambda client: matrix.play(client, [c for c in needed if c.client == client]),
                CLIENTS,
            ):
                found |= seen
        yield found


@pytest.mark.parametrize("cell", sorted(set(map(baseline, CELLS))), ids=str)
def test_a_session_without_pipeguard_goes_as_planned(played: dict[Cell, Seen], cell: Cell) -> None:
    seen = played[cell]
    assert seen.broken == ""
    steps = sessions()[cell.server]
    outcomes = [step["failed"] for step in seen.steps[1:]]  # the first is the handshake
    assert outcomes == [step.get("fails", False) for step in steps], list(
        zip(steps, seen.steps[1:], strict=True)
    )


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_client_sees_the_same_through(played: dict[Cell, Seen], cell: Cell) -> None:
    through, direct = played[cell], played[baseline(cell)]
    assert through.broken == ""
    assert through.steps == direct.steps
    assert through.heard == direct.heard
