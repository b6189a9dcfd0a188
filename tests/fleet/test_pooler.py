"""Replicas whose connections a pooler hands from one to the other between transactions."""

from pathlib import Path

import pytest

from tests.fleet.load import NEWEST, Load
from tests.fleet.postgres import Cluster
from tests.fleet.replicas import Fleet
from tests.launch.processes import until


@pytest.mark.needs("pgbouncer")
def test_replicas_work_through_pgbouncer_in_transaction_mode(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    with cluster.pool(database) as pooled, Fleet(tmp_path / "fleet", pooled) as fleet:
        for address in fleet.addresses:
            with Load(address, tmp_path, clients=[NEWEST]) as load:
                load.grow(10)
            assert load.failed == []
        ran = len(fleet.calls.read_text().split())
        until(lambda: fleet.count_rows() == ran, "all rows have arrived")
        assert fleet.run("store", "check").returncode == 0
        assert fleet.run("audit", "verify").returncode == 0
    assert "does not answer" not in fleet.said()
