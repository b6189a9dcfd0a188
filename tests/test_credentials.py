"""Checks docs/credentials.tsv: each family has one state, and its detector exists."""

import random
import runpy
from collections import Counter
from pathlib import Path

import pytest

from pipeguard import Action, Direction, Engines, Frame, Policy, Session, load_engines, make_guard
from pipeguard.rulebook.packs import load_rules, sources

PAGE_MAKER = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "pages.py"))
FAMILIES = PAGE_MAKER["read_families"]()
STATES, GENERAL = PAGE_MAKER["STATES"], PAGE_MAKER["GENERAL"]
LEAST = 1000  # families; fewer means that some were lost
HEX, MOST = "0123456789abcdef", "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


@pytest.fixture(scope="module")
def rules() -> set[str]:
    shipped = [pack for pack in sources() if pack.shipped]
    return {rule.id for rule in load_rules(shipped) if rule.id.startswith("secrets.")}


def test_each_family_is_listed_once_and_has_one_state_and_a_source() -> None:
    assert len(FAMILIES) >= LEAST
    listed = Counter((family.vendor, family.kind) for family in FAMILIES)
    assert [name for name, times in listed.items() if times > 1] == []
    assert {family.status for family in FAMILIES} == set(STATES)
    assert [family for family in FAMILIES if "." not in family.source] == []


def test_every_rule_that_finds_a_family_exists(rules: set[str]) -> None:
    named = {rule for family in FAMILIES for rule in family.rules} | set(GENERAL)
    assert {rule for rule in named if f"secrets.{rule}" not in rules} == set()
    empty = [f for f in FAMILIES if f.status == "own" and not f.rules]
    assert empty == []


def test_what_is_in_no_state_of_its_own_says_why() -> None:
    reasons = [f.state for f in FAMILIES if f.status == "none"]
    years = [f.state.rpartition(" ")[2] for f in FAMILIES if f.status == "retired"]
    assert all(len(reason.split()) > 3 for reason in reasons)
    assert all(year.isdecimal() and 2000 < int(year) < 2100 for year in years)


@pytest.fixture(scope="module")
def engines() -> Engines:
    return load_engines()


def finds(engines: Engines, text: str, value: str) -> bool:
    """True if a value in a result does not reach the model."""
    session = Session(make_guard("demo", engines, Policy(), pins={}), run="TEST")
    session.take(Frame(Direction.TO_SERVER, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', now=0.0))
    frame = f'{{"jsonrpc":"2.0","id":1,"result":{{"note":"{text}"}}}}'
    verdict = session.take(Frame(Direction.TO_CLIENT, frame.encode(), now=0.0))
    return verdict.action >= Action.REDACT and value.encode() not in (verdict.forward or b"")


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_key_without_a_form_is_found_by_its_name(every: int, engines: Engines) -> None:
    vendors = sorted({f.vendor for f in FAMILIES if f.status in ("named", "retired")})
    lost = []
    for vendor in vendors[::every]:
        dice = random.Random(vendor)  # noqa: S311  no key of anything
        name = vendor.upper().replace(" ", "_").replace("-", "_")
        values = ["".join(dice.choices(MOST, k=40)) for _ in range(2)]
        values += ["".join(dice.choices(HEX, k=32)) for _ in range(2)]
        found = [finds(engines, f"{name}_API_KEY={value}", value) for value in values]
        if sum(found) < len(values) - 1:  # chance writes a word now and then
            lost.append(vendor)
    assert lost == []
