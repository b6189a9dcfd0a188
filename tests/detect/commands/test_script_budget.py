"""What reading the scripts of one message may cost."""

from pipeguard.detect.commands.script_budget import MAX_STEPS, ScriptBudget


def test_a_budget_is_spent_once_and_for_all() -> None:
    budget = ScriptBudget()
    budget.steps = 3
    assert [budget.spend(2), budget.spend(2), budget.spend()] == [True, False, False]
    assert budget.is_exceeded


def test_a_longer_script_may_cost_more() -> None:
    budget = ScriptBudget(100)
    assert budget.spend(MAX_STEPS + 100)
    assert not budget.is_exceeded
    assert not budget.spend()
