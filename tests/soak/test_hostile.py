"""Memory of a listener after hostile requests, while other clients are served.

`python -m tests.soak.hostile 100000` runs more of them, by hand.
"""

import asyncio
from pathlib import Path

import pytest

from tests.soak.hostile import attacked, listening

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc")
GROWTH_MIB = 50.0


@pytest.mark.filterwarnings(  # hostile clients leave without a word
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
@pytest.mark.parametrize("count", [1_000, pytest.param(4_000, marks=pytest.mark.exhaustive)])
def test_hostile_requests_leave_little_memory_and_honest_ones_are_answered(
    tmp_path: Path, count: int
) -> None:
    with listening(tmp_path) as at:
        grown = asyncio.run(attacked(at, count))
    assert grown.after - grown.before < GROWTH_MIB, grown
    assert grown.height - grown.before < GROWTH_MIB, grown
    assert grown.answered > count // 4, grown
