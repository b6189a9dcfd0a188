"""A call waits as one event, which the end of its wait names."""

from pathlib import Path

import pytest

from pipeguard.firewall.finding import Action
from pipeguard.firewall.policy import Exempt, Layer, Selector
from tests.state import test_grants
from tests.state.test_grants import ASKING, STRICTER, Conversation, grant

store, asking = test_grants.store, test_grants.asking  # fixtures

EXEMPT = Layer(exceptions=(Exempt(Selector(rule="flows.*"), "our minutes"),))
OTHER = ASKING._replace(exceptions=(Exempt(Selector(rule="secrets.*"), "our docs", 9e9),))


def test_a_call_waits_as_one_event_while_the_person_is_to_decide_about_the_same(
    asking: Conversation,
) -> None:
    held, policy = asking.order(), asking.session.guard.policy
    asking.session.guard.adopt(policy._replace(layers=(OTHER,)))
    assert asking.session.is_decided(held)
    assert asking.session.decide(held, 3.0, is_last=False) is held
    assert not asking.session.is_decided(held)
    assert asking.session.is_awaited(held)


@pytest.mark.parametrize(
    ("layer", "action"), [(EXEMPT, Action.ALLOW), (STRICTER, Action.BLOCK)], ids=["exempt", "stop"]
)
def test_a_wait_that_the_policy_ends_is_named(
    asking: Conversation, layer: Layer, action: Action
) -> None:
    held, policy = asking.order(), asking.session.guard.policy
    asking.session.guard.adopt(policy._replace(layers=(layer,)))
    ended = asking.session.decide(held, 3.0, is_last=False)
    assert ended.action is action
    assert f"it waited as event {held.event}" in ended.findings[0].note


def test_a_call_that_passes_by_a_grant_for_its_like_names_its_own_wait(
    store: Path, asking: Conversation
) -> None:
    held = asking.order()
    grant(store, held, event="TEST.c1")
    passed = asking.session.decide(held, 3.0, is_last=False)
    assert passed.forward is not None
    assert passed.findings[0].note.endswith(f"as event TEST.c1; it waited as event {held.event}")
