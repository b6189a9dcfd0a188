"""Scripts that send a secret, or log in with it."""

from pipeguard.detect.commands.network_commands import MARK, MAX_SCRIPT, rate_sending
from pipeguard.firewall.finding import Confidence
from tests.detect.cases import read_cases
from tests.each import each

CASES = read_cases(__file__)


def sent(script: str, *, logs_in: bool = False) -> Confidence | None:
    return rate_sending(script.replace("KEY", MARK), lambda _: logs_in)


@each("script", CASES["what_talks_to_another_machine_sends_it"])
def test_what_talks_to_another_machine_sends_it(script: str) -> None:
    assert sent(script) is Confidence.HIGH


@each("script", ["export A=KEY", "echo KEY", "psql -h localhost -c 'select KEY'", "ls -la"])
def test_what_stays_on_this_machine_sends_nothing(script: str) -> None:
    assert sent(script) is None


@each("script", ["mysql -h db.example -pKEY", "curl -u me:KEY https://h.example"])
def test_a_program_may_log_in_with_it(script: str) -> None:
    assert sent(script) is Confidence.MEDIUM


def test_who_asks_may_know_that_it_is_a_login() -> None:
    assert sent("curl -H 'X-Api-Key: KEY' https://h.example") is Confidence.HIGH
    assert sent("curl -H 'X-Api-Key: KEY' https://h.example", logs_in=True) is Confidence.MEDIUM


def test_another_line_of_a_script_that_talks_may_send_what_this_one_keeps() -> None:
    assert sent("export A=KEY\ncurl -d $B https://h.example") is Confidence.MEDIUM


def test_where_a_script_is_too_long_to_know_it_counts_as_sent() -> None:
    assert sent("echo KEY" + " " * MAX_SCRIPT) is Confidence.HIGH
    assert sent("echo a" + " " * MAX_SCRIPT) is None
