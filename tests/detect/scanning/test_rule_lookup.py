"""Which rules could match in a block, and what confirms a match."""

from pipeguard.detect.scanning.readings import SIGNS, SIGNS_TO_SERVER
from tests.fuzz.rulebook import RULES, engines

TOKEN = b"ghp_" + b"Z7QX4M2N5P6R3STV" * 2 + b"abcd"


def test_signs_and_rules_of_a_block_are_told_apart() -> None:
    look = engines().to_server.lookup
    signs, rules = look.look(b"text: see " + TOKEN + b" and %41%42", squeezed=False)
    assert "percent" in signs
    assert set(signs) <= {*SIGNS, *SIGNS_TO_SERVER, "acts", "windows", "literals", "labels"}
    assert "secrets.github-token" in {rule.id for rule in rules}
    assert look.look(b"text: a fine day", squeezed=False)[1] == []


def test_a_text_without_spaces_has_its_own_patterns() -> None:
    look = engines().to_server.lookup
    _, rules = look.look(TOKEN, squeezed=True)
    assert "secrets.github-token" in {rule.id for rule in rules}


def test_what_arguments_do_has_its_own_too() -> None:
    rules = engines().to_server.lookup.look_at_acts(b"\n$ rm -r /\n")
    assert "commands.delete-root" in {rule.id for rule in rules}


def test_the_expression_of_a_rule_confirms_and_is_made_once() -> None:
    look, rule = engines().to_server.lookup, RULES["secrets.github-token"]
    finder = look.finder(rule, squeezed=False)
    assert look.finder(rule, squeezed=False) is finder
    assert look.finder(rule, squeezed=True) is not finder


def test_a_clone_has_databases_for_its_own_thread() -> None:
    look = engines().to_server.lookup
    other = look.clone()
    assert other.rules is look.rules
    assert other.plain is not look.plain
    assert other.look(TOKEN, squeezed=False) == look.look(TOKEN, squeezed=False)
