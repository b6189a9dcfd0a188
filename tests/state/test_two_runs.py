"""Two runs of one server with other settings: each keeps its own holds, and a person sees both."""

import pytest

from pipeguard.detect.detector import make_guard
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.finding import Drift, PinChange
from pipeguard.firewall.policy import Policy, Trust
from pipeguard.firewall.protocol.json_values import ABSENT, JsonObject
from pipeguard.firewall.session.admission import find_obstacle
from pipeguard.firewall.session.definitions import DefinitionScope, review_definition
from pipeguard.state.pins import Store
from pipeguard.state.review import approve, held_definitions, reject, restore
from tests.fuzz.rulebook import engines
from tests.state.samples import decide_all

REVIEW = Policy(trust=Trust.REVIEW)
FEW, MANY = "Lists a few.", "Lists many."
ROUNDS = 10  # more than any exchange between two runs may take


class Run:
    """One run: its guard, and the text with which its server describes its one tool."""

    def __init__(self, store: Store, text: str, policy: Policy = REVIEW) -> None:
        self.store = store
        self.text = text
        self.guard = make_guard("demo", engines(), policy, store.pins("demo"))

    def list(self) -> PinChange | None:
        """List the tool, and store the resulting pin."""
        path = ("result", "tools", 0)
        scope = DefinitionScope(self.guard, "tools/list", path, "tool", "name", 0.0, Budgets())
        tool: JsonObject = {"name": "list", "description": self.text}
        reviewed = review_definition(scope, "list", tool)
        self.is_hidden = reviewed.shown is ABSENT
        if reviewed.pin is not None:
            self.store.remember("demo", [reviewed.pin])
        return reviewed.pin


def may_call(*runs: Run) -> list[bool]:
    return [find_obstacle(run.guard, "tool", "list") is None for run in runs]


def two_under_review(store: Store) -> tuple[Run, Run]:
    runs = Run(store, FEW), Run(store, MANY)
    for run in runs:
        run.list()
    follow(*runs)
    return runs


def follow(*runs: Run) -> None:
    """Let each run follow the store until nothing changes any more."""
    for _ in range(ROUNDS):
        relisted = [run.list() for run in runs if run.guard.repin(run.store.pins("demo"))]
        if not relisted:
            return
    pytest.fail("the two runs undo each other's changes without end")


def waiting(store: Store) -> str | None:
    """Return the pending description."""
    pin = store.pins("demo").get(("tool", "list"))
    text = pin.held_definition if pin is not None and pin.waits else None
    return None if text is None else next(each for each in (FEW, MANY) if each in text)


def test_two_holds_do_not_replace_each_other_and_are_decided(store: Store) -> None:
    few, many = two_under_review(store)
    assert waiting(store) == MANY, "the newest"
    assert may_call(few, many) == [False, False]
    decide_all(store.approve, store, "demo")
    follow(few, many)
    assert may_call(few, many) == [False, True]
    assert waiting(store) == FEW, "the other one's turn"
    decide_all(store.approve, store, "demo")
    follow(few, many)
    assert may_call(few, many) == [True, False]
    assert waiting(store) == MANY


def test_what_one_run_is_approved_for_does_not_end_the_hold_of_another(store: Store) -> None:
    few, many = Run(store, FEW, Policy()), Run(store, MANY, Policy())
    few.list()
    many.guard.repin(store.pins("demo"))
    many.list()
    follow(few, many)
    assert may_call(few, many) == [True, False], "its server offers what is approved"
    assert waiting(store) == MANY
    few.list()
    follow(few, many)
    assert waiting(store) == MANY


def test_what_one_run_rejected_no_other_asks_for_again(store: Store) -> None:
    few, many = two_under_review(store)
    seen = []
    while (text := waiting(store)) is not None:
        seen.append(text)
        assert len(seen) <= 4, "each run asks twice at most: the other may be faster than the store"
        decide_all(store.reject, store, "demo")
        follow(few, many)
        few.list()
        many.list()
        follow(few, many)
    assert set(seen) == {FEW, MANY}
    assert may_call(few, many) == [False, False]


def test_first_use_in_one_run_does_not_approve_what_another_holds(store: Store) -> None:
    trusting, careful = Run(store, FEW, Policy()), Run(store, FEW)
    careful.list()
    trusting.list()
    assert not trusting.is_hidden, "it has not heard of the other yet"
    follow(careful, trusting)
    assert waiting(store) == FEW
    assert may_call(careful, trusting) == [False, False]
    decide_all(store.approve, store, "demo")
    follow(careful, trusting)
    assert may_call(careful, trusting) == [True, True]


def test_a_change_that_one_run_may_use_is_not_stopped_by_the_hold_of_another(store: Store) -> None:
    lenient = Policy(drift_allow=frozenset(Drift))
    first = Run(store, FEW, Policy())
    first.list()
    may, may_not = Run(store, MANY, lenient), Run(store, MANY, Policy())
    may.list()
    may_not.list()
    follow(may, may_not)
    assert may_call(may, may_not) == [True, False]
    assert waiting(store) == MANY


def test_a_run_takes_back_its_own_hold(store: Store) -> None:
    run = Run(store, FEW, Policy())
    run.list()
    run.text = MANY
    run.list()
    follow(run)
    assert waiting(store) == MANY
    run.text = FEW
    run.list()
    follow(run)
    assert waiting(store) is None
    assert may_call(run) == [True]


@pytest.mark.parametrize("policy", [Policy(), REVIEW], ids=["first-use", "review"])
def test_a_later_run_withdraws_holds_of_versions_now_gone(store: Store, policy: Policy) -> None:
    run = Run(store, FEW)
    run.list()
    decide_all(store.approve, store, "demo")
    Run(store, MANY, policy).list()
    assert waiting(store) == MANY
    back = Run(store, FEW, policy)
    back.list()
    follow(back)
    assert waiting(store) is None
    assert may_call(back) == [True]
    assert may_call(Run(store, FEW, policy)) == [True], "before it lists anything"
    again = Run(store, MANY, policy)
    again.list()
    assert waiting(store) == MANY, "it is offered again"
    assert may_call(again) == [False]


def test_a_run_that_still_offers_what_another_withdrew_holds_it_again(store: Store) -> None:
    Run(store, FEW).list()
    decide_all(store.approve, store, "demo")
    changed = Run(store, MANY)
    changed.list()
    back = Run(store, FEW)
    back.list()
    assert waiting(store) is None
    follow(changed, back)
    assert waiting(store) == MANY
    assert may_call(changed, back) == [False, True]
    decide_all(store.approve, store, "demo")
    follow(changed)
    assert may_call(changed) == [True]


def test_what_a_run_under_review_holds_is_not_what_another_withdrew(store: Store) -> None:
    for text in (FEW, MANY, FEW):
        Run(store, text, Policy()).list()
    assert waiting(store) is None
    review = Run(store, FEW)
    assert may_call(review) == [False], "no person has seen it"
    store.hold_unreviewed("demo")
    assert waiting(store) == FEW


def offer(store: Store, text: str, policy: Policy) -> tuple[str | None, bool]:
    """Offer a text in a new run; return what waits then, and whether the tool may be called."""
    run = Run(store, text, policy)
    run.list()
    follow(run)
    assert run.guard.pins.is_rejected("tool", "list") or waiting(store) or may_call(run)[0]
    return waiting(store), may_call(run)[0]


@pytest.mark.parametrize("policy", [Policy(), REVIEW], ids=["first-use", "review"])
def test_what_was_rejected_does_not_wait_again_until_it_changes(
    store: Store, policy: Policy
) -> None:
    offer(store, FEW, REVIEW)
    decide_all(store.reject, store, "demo")
    assert [offer(store, FEW, policy), offer(store, FEW, policy)] == [(None, False)] * 2
    assert offer(store, MANY, policy) == (MANY, False), "though it may be trusted at first sight"
    assert offer(store, FEW, policy) == (MANY, False)
    decide_all(store.reject, store, "demo")
    assert {offer(store, text, policy) for text in (FEW, MANY) * 3} == {(None, False)}
    assert len(store.pins("demo")["tool", "list"].rejected.split()) == 2


def test_a_rejected_change_is_taken_back_or_approved_by_its_name(store: Store) -> None:
    offer(store, FEW, REVIEW)
    decide_all(store.approve, store, "demo")
    run = Run(store, MANY)
    run.list()
    before = held_definitions(store)
    for decide in (
        lambda: reject(store, before, "ada"),
        lambda: restore(store, before, "ada", is_approval=False),
        lambda: reject(store, before, "ada"),
    ):
        decide()
        follow(run)
        assert run.guard.pins.is_rejected("tool", "list") is (waiting(store) is None)
        assert may_call(run) == [False]
    assert [offer(store, text, REVIEW) for text in (MANY, FEW, MANY)] == [
        (None, text == FEW) for text in (MANY, FEW, MANY)
    ]
    approve(store, held_definitions(store, "demo/list"), "ada")
    follow(run)
    assert may_call(run) == [True]
