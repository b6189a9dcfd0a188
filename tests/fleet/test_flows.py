"""What was read through one replica is stopped when it leaves through another."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

import pytest

from pipeguard.state.postgres.database import PostgresStore
from pipeguard.state.postgres.rates import count_call
from tests.fleet.calling import HARMLESS, META, PRIVATE, Replica, make_token, write_fleet
from tests.fleet.postgres import Cluster
from tests.launch.processes import until

pytestmark = [pytest.mark.real, pytest.mark.needs("initdb")]

MANY = 100
FILL_MINUTE = (
    "UPDATE rates SET minute = floor(extract(epoch FROM clock_timestamp()) / 60), calls = ?"
)
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
    replicas: tuple[Replica, Replica], database: str
) -> None:
    tokens = [make_token(database, f"client{number}") for number in range(MANY)]
    for number, token in enumerate(tokens):
        reader, sender = replicas if number % 2 else replicas[::-1]
        assert reader.call("files__read_file", token, path="plan.md") == PRIVATE
        assert sender.call("mail__http_post", token, body=HARMLESS) == SENT
        assert STOPPED in sender.call("mail__http_post", token, body=PRIVATE), sender.said()
    dumped = subprocess.run(
        ["pg_dump", "--dbname", database],
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


def test_a_tokens_calls_in_a_minute_are_counted_at_all_replicas(
    replicas: tuple[Replica, Replica], database: str
) -> None:
    token = make_token(database, "ci", per_minute=MANY)
    assert replicas[0].call("weather__get_forecast", token, city="Oslo") == "mild"

    def are_refused() -> bool:  # unless a minute begins meanwhile
        with PostgresStore(database) as store:
            assert store.write(FILL_MINUTE, MANY) == 1
        answers = [each.call("weather__get_forecast", token, city="Oslo") for each in replicas]
        return all("Too many calls" in answer for answer in answers)

    until(are_refused, "both replicas refuse what exceeds the limit together")


def test_a_client_that_tries_again_and_again_gets_its_calls_a_minute(database: str) -> None:
    last = "UPDATE rates SET minute = minute - 1 RETURNING calls"
    with PostgresStore(database) as store:
        for _ in range(3):
            assert any(count_call("ci", 2, store)[0] for _ in range(9))
            assert store.read(last) <= [(2,)]
            store.write("UPDATE rates SET minute = minute - 1")  # it was a minute ago


@pytest.mark.needs("initdb")
def test_calls_are_refused_after_an_outage_until_the_database_answers(tmp_path: Path) -> None:
    write_fleet(tmp_path, outage="2 s")
    with Cluster() as own, ExitStack() as stack:
        database = own.create_database()
        token = make_token(database, "ci")
        one = stack.enter_context(Replica(tmp_path, "one", database))
        assert one.call("weather__get_forecast", token, city="Oslo") == "mild"
        own.stop()
        until(lambda: one.is_ready()[0] == HTTPStatus.SERVICE_UNAVAILABLE, "it is out")
        assert "the shared store has not answered" in one.is_ready()[1]
        answer = one.call("weather__get_forecast", token, city="Oslo")
        assert "PipeGuard lets no call pass: the shared store has not answered" in answer
        _, listed = one.post("tools/list", {"_meta": META}, token)
        assert "weather__get_forecast" in str(listed)
        own.start()
        until(lambda: one.is_ready()[0] == HTTPStatus.OK, "it is ready again")
        assert one.call("weather__get_forecast", token, city="Oslo") == "mild"
