"""Differences between two runs of the suite that count as lost checks."""

from tests.conformance.suite import Check, Run

ONE, TWO, THREE = (Check("ping", f"check-{number}", "Check") for number in (1, 2, 3))


def run(**statuses: list[str]) -> Run:
    by_name = {"one": ONE, "two": TWO, "three": THREE}
    found = {by_name[name]: list(each) for name, each in statuses.items()}
    return Run(found, {check: "why" for check, each in found.items() if "FAILURE" in each})


def test_a_check_that_fails_or_is_not_made_through_is_lost() -> None:
    direct = run(one=["SUCCESS"], two=["SUCCESS"], three=["SUCCESS", "SKIPPED"])
    through = run(one=["SUCCESS", "FAILURE"], three=["SUCCESS"])
    assert set(direct.lost(through)) == {ONE, TWO}
    assert direct.lost(through)[ONE] == "why"


def test_a_check_that_does_not_pass_direct_is_not_lost() -> None:
    direct = run(one=["FAILURE"], two=["SKIPPED"], three=["SUCCESS", "WARNING"])
    assert direct.lost(run()) == {}
