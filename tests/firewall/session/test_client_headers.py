"""A client's HTTP headers are judged like arguments, and only the essential ones are kept."""

from pipeguard import Action, Session, Verdict, make_guard
from pipeguard.firewall.policy import Mode, Policy
from pipeguard.firewall.session.client_headers import HeadersSent
from tests.fuzz.rulebook import engines

KEY = "ghp_" + "Z7QX4M2N5P6R3STV" * 2 + "abcd"


def judged(
    *headers: tuple[str, str], policy: Policy | None = None
) -> tuple[frozenset[str], Verdict]:
    session = Session(make_guard("demo", engines(), policy or Policy(), {}), "RUN")
    verdict = session.take(HeadersSent(headers, 0.0, "RUN.h1"))
    return frozenset(name.lower() for name, _ in headers) - verdict.headers, verdict


def test_a_header_with_a_secret_does_not_go_on_and_others_do() -> None:
    stopped, verdict = judged(("X-Note", f"key {KEY}"), ("Accept", "application/json"))
    assert stopped == {"x-note"}
    assert (verdict.action, verdict.event) == (Action.BLOCK, "RUN.h1")
    assert verdict.findings[0].pointer.startswith("/headers/x-note")


def test_plain_headers_go_on() -> None:
    stopped, verdict = judged(("Accept", "*/*"), ("accept", "text/plain"), ("User-Agent", "a/1"))
    assert (stopped, verdict.action, verdict.findings) == (frozenset(), Action.ALLOW, ())


def test_a_secret_over_several_headers_stops_them_all() -> None:
    stopped, verdict = judged(("X-A", KEY[:20]), ("X-B", KEY[20:]))
    assert verdict.action is Action.BLOCK
    assert stopped == {"x-a", "x-b"}


def test_who_observes_stops_nothing() -> None:
    stopped, verdict = judged(("X-Note", KEY), policy=Policy(mode=Mode.OBSERVE))
    assert stopped == frozenset()
    assert verdict.action is Action.WARN
