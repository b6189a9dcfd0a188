"""What was read through one replica is stopped when it leaves through another."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fleet.calling import HARMLESS, PRIVATE, Replica, make_token, write_fleet
from tests.fleet.postgres import Cluster

pytestmark = [pytest.mark.real, pytest.mark.needs("initdb")]

MANY = 100
STOPPED, SENT = "flows.private-out", "sent"


@pytest.fixture
def replicas(tmp_path: Path, database: str) -> Iterator[tuple[Replica, Replica]]:
    write_fleet(tmp_path)
    with ExitStack() as stack:
        yield (
            stack.enter_context(Replica(tmp_path, "one", database)),
            stack.enter_context(Replica(tmp_path, "two", database)),
        )


def test_a_flow_over_two_replicas_is_stopped_each_time(
    replicas: tuple[Replica, Replica], cluster: Cluster, database: str
) -> None:
    tokens = [make_token(database, f"client{number}") for number in range(MANY)]
    for number, token in enumerate(tokens):
        reader, sender = replicas if number % 2 else replicas[::-1]
        assert reader.call("files__read_file", token, path="plan.md") == PRIVATE
        assert sender.call("mail__http_post", token, body=HARMLESS) == SENT
        assert STOPPED in sender.call("mail__http_post", token, body=PRIVATE), sender.said()
    dumped = subprocess.run(
        ["pg_dump", "--table", "notes", "--dbname", database],
        capture_output=True,
        text=True,
        check=True,
    )
    assert dumped.stdout.count("\\\\x") > MANY
    assert not [word for word in ("plant", "valley", "orders and") if word in dumped.stdout]


def test_a_session_of_a_token_is_followed_into_another(
    replicas: tuple[Replica, Replica], database: str
) -> None:
    token, other = make_token(database, "ci"), make_token(database, "other")
    one, two = replicas
    session = one.begin(token)
    assert one.call("files__read_file", token, session, path="plan.md") == PRIVATE
    assert STOPPED in two.call("mail__http_post", token, body=PRIVATE)
    assert two.call("mail__http_post", other, body=PRIVATE) == SENT


def test_a_replica_that_died_after_its_answer_is_known_by_the_others(
    tmp_path: Path, database: str
) -> None:
    write_fleet(tmp_path)
    with Replica(tmp_path, "two", database) as two:
        assert two.url
        with Replica(tmp_path, "one", database) as one:
            assert one.call("files__read_file", path="plan.md") == PRIVATE
            one.kill()
        assert two.call("mail__http_post", body=HARMLESS) == SENT
        assert STOPPED in two.call("mail__http_post", body=PRIVATE)
