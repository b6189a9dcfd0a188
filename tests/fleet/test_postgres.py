"""PostgreSQL as the tests run it."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pipeguard.state.postgres.database import PostgresStore
from tests.fleet.postgres import Cluster


def test_each_test_has_its_own_database(cluster: Cluster, database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE own (number integer)")
    other = cluster.create_database()
    with (
        psycopg.connect(other) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        connection.execute("SELECT * FROM own")


@pytest.mark.needs("initdb")
def test_a_frozen_cluster_answers_again_and_a_stopped_one_starts() -> None:
    with Cluster() as own:
        with psycopg.connect(own.create_database(), autocommit=True) as connection:
            own.freeze()
            connection.pgconn.send_query(b"SELECT 1")
            connection.pgconn.consume_input()
            assert connection.pgconn.is_busy()
            own.thaw()
            while connection.pgconn.get_result() is not None:
                pass
        own.stop()
        own.start()
        assert own.execute("SELECT 1") == [(1,)]


def test_replicas_may_create_the_tables_at_once(database: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        for store in threads.map(PostgresStore, [database] * 8):
            store.close()
