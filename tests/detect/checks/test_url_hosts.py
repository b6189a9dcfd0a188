"""Every host that some program would read in a URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.checks.addresses import Reach
from pipeguard.detect.checks.url_hosts import QUESTIONS, hosts, reaches
from tests.each import each
from tests.fuzz.budget import tried


@pytest.mark.parametrize(
    ("rest", "reach", "odd"),
    [
        ("127.0.0.1:3000/", Reach.LOOPBACK, False),
        ("localhost", Reach.LOOPBACK, False),
        ("127.1", Reach.LOOPBACK, True),
        ("2130706433", Reach.LOOPBACK, True),
        ("0x7f.1", Reach.LOOPBACK, True),
        ("[::1]:80", Reach.LOOPBACK, False),
        ("[::ffff:127.0.0.1]", Reach.LOOPBACK, True),
        ("[64:ff9b::a00:1]", Reach.PRIVATE, True),
        ("[2002:a9fe:a9fe::]", Reach.METADATA, True),
        ("10.0.0.1.nip.io", Reach.PRIVATE, True),
        ("a@169.254.169.254/", Reach.METADATA, False),
        ("169.254.169.254.", Reach.METADATA, True),
        ("%31%30.0.0.1", Reach.PRIVATE, True),
        ("\uff11\uff10.0.0.1", Reach.PRIVATE, True),
        ("169\u3002254\u3002169\u3002254", Reach.METADATA, True),
        ("100.64.0.1", Reach.SHARED, False),
        ("0.0.0.0", Reach.ANY, False),  # noqa: S104  nothing is bound
        ("224.0.0.1", Reach.RESERVED, False),
        ("[fe80::1%25eth0]", Reach.LINK, True),
        ("db.internal", Reach.PRIVATE, False),
        ("example.com", Reach.PUBLIC, False),
    ],
)
def test_hosts_in_their_one_form(rest: str, reach: Reach, odd: bool) -> None:
    assert (hosts(rest)[0].reach, hosts(rest)[0].odd) == (reach, odd)


def test_each_way_to_read_an_address_counts() -> None:
    for rest in ("169.254.169.254#@h.example/", "169.254.169.254\\@h.example/"):
        assert reaches(rest.encode(), "metadata")
    assert reaches(b"h.example\\@10.0.0.1/", "inside")
    assert not reaches(b"h.example/?u=10.0.0.1", "inside")


@pytest.mark.parametrize(
    ("rest", "answers"),
    [
        ("10.0.0.1:2375/info", {"inside", "exposed"}),
        ("10.0.0.1/index.html", {"inside"}),
        ("localhost:3000/admin", set()),
        ("localhost:2375/", {"exposed"}),
        ("0x7f.1/", {"disguised", "suspicious"}),
        ("169.254.169.254/latest/meta-data", {"metadata", "suspicious", "inside", "exposed"}),
        ("169.254.7.7/", {"inside", "exposed"}),
        ("//169.254.169.254\\latest", {"metadata", "suspicious", "inside"}),
        ("8.8.8.8, 169.254.169.254", {"metadata", "suspicious", "inside"}),
        ("example.com:2375/admin", {"outside"}),
    ],
)
def test_each_question_has_its_answer(rest: str, answers: set[str]) -> None:
    assert {name for name in QUESTIONS if reaches(rest.encode(), name)} == answers


@each("question", list(QUESTIONS))
@tried(50)
@given(st.text(max_size=200))
def test_any_text_has_an_answer(question: str, rest: str) -> None:
    assert reaches(rest.encode(), question) in (True, False)
