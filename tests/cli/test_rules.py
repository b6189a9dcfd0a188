"""`pipeguard rules`: listed, shown, tested, and their reference up to date."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeguard.cli.rules import command
from pipeguard.errors import RuleError
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.reference import pages
from tests.rulebook.test_packs import pack

TOP = Path(__file__).resolve().parent.parent.parent


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments))


def listed(*arguments: str) -> list[dict[str, object]]:
    result = run("list", "--json", *arguments)
    assert result.exit_code == 0
    found: list[dict[str, object]] = json.loads(result.output)
    return found


def test_the_list_has_every_rule_and_a_line_for_each() -> None:
    assert [rule["rule"] for rule in listed()] == [rule.id for rule in load_rules()]
    assert len(run("list").output.splitlines()) == len(load_rules())


def test_the_list_takes_filters() -> None:
    chosen = listed("--pack", "secrets", "--surface", "to-server", "--severity", "critical")
    kinds = {(str(rule["rule"]).partition(".")[0], rule["severity"]) for rule in chosen}
    assert kinds == {("secrets", "critical")}
    assert len(listed("--severity", "info")) == len(load_rules())
    assert len(listed("--surface", "definitions")) < len(load_rules())


def test_a_filter_that_nothing_fits_is_told() -> None:
    result = run("list", "--pack", "sql", "--surface", "definitions")
    assert result.exit_code == 0
    assert "No rule matches." in result.output


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b" not in run("list").output
    assert "\x1b" in CliRunner().invoke(command, ["list"], color=True).output


def test_a_rule_is_shown_with_its_pattern_and_samples() -> None:
    rule = next(rule for rule in load_rules() if rule.id == "secrets.github-token")
    told = json.loads(run("show", rule.id, "--json").output)
    assert told["pattern"] == rule.pattern
    assert told["matches"] == list(rule.matches)
    output = run("show", rule.id).output
    assert rule.pattern in output
    assert rule.why in output


def test_a_rule_without_a_pattern_is_shown_with_its_model() -> None:
    rule = next(rule for rule in load_rules() if rule.model)
    told = json.loads(run("show", rule.id, "--json").output)
    assert (told["model"], told["sha256"], told["pattern"]) == (rule.model, rule.sha256, "")
    shown = [line.partition(" ")[0] for line in run("show", rule.id).output.splitlines()]
    assert {"model", "sha256", "why", "matches", "passes"} <= set(shown)
    assert not {"pattern", "boundary", "ignore_case", "placeholders"} & set(shown)


@pytest.mark.parametrize("name", ["egress.address", "protocol.duplicate-key"])
def test_a_rule_without_a_pattern_is_explained_elsewhere(name: str) -> None:
    error = run("show", name).exception
    assert f"pipeguard explain {name}" in str(error)


def test_an_unknown_rule_is_told() -> None:
    error = run("show", "secrets.githb-token").exception
    assert isinstance(error, RuleError)
    assert "Did you mean `secrets.github-token`?" in str(error)


def test_a_pack_of_ones_own_is_tested_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(pack())
    result = run("test", str(file))
    assert result.exit_code == 0
    assert result.output.startswith("1 rules, 2 samples, 0 failures, ")


def test_a_pack_with_a_classifier_is_tested_by_itself(tmp_path: Path) -> None:
    content = yaml.safe_load((TOP / "rules/injection.yaml").read_text())
    content["rules"] = [rule for rule in content["rules"] if "model" in rule]
    file = tmp_path / "injection.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    result = run("test", str(file))
    assert result.exit_code == 0, result.exception
    assert result.output.startswith("1 rules, ")


def test_what_fails_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        pack()
        .replace("matches: [xyzzy-123]", "matches: [xyzzy-12]")
        .replace("passes: [xyzzy-12]", "passes: [xyzzy-123]")
    )
    result = run("test", str(file))
    assert result.exit_code == 1
    assert "mine.magic-word (to-server): must match, and does not\n  xyzzy-12\n" in result.output
    assert "mine.magic-word (to-server): must pass, and does not\n  xyzzy-123\n" in result.output
    told = json.loads(run("test", "--json", str(file)).output)
    assert [failure["sample"] for failure in told["failures"]] == ["xyzzy-12", "xyzzy-123"]


def test_a_wrong_pack_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("rules: none")
    assert isinstance(run("test", str(file)).exception, RuleError)


def test_the_reference_names_every_rule_and_no_invisible_character() -> None:
    made = pages(load_rules())
    missing = [
        rule.id
        for rule in load_rules()
        if f"\n## {rule.id}\n" not in made[rule.pack] or rule.fix not in made[rule.pack]
    ]
    assert missing == []
    lines = [line for text in made.values() for line in text.split("\n")]
    assert [line for line in lines if not line.isprintable()] == []


@pytest.mark.parametrize("verb", ["list", "show", "test"])
def test_each_verb_has_an_example(verb: str) -> None:
    assert f"pipeguard rules {verb}" in run(verb, "--help").output


def test_rules_are_chosen_by_name() -> None:
    result = run("test", "--rule", "secrets.github-t*", "--json")
    assert json.loads(result.output)["rules"] == 1
    assert isinstance(run("test", "--rule", "none.*").exception, RuleError)


def test_what_matches_when_a_little_is_changed_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(pack().replace("passes: [xyzzy-12]", "passes: [xyzzy-12, xyzzy -456]"))
    told = json.loads(run("test", "--near-miss", "--json", str(file)).output)
    assert told["failures"] == []
    (rule,) = told["near_miss"]
    assert rule["matches"]["digit"] == {"tried": 1, "matched": 1, "confidence": "high"}
    assert rule["matches"]["letter"] == {"tried": 1, "matched": 0, "confidence": None}
    close = {"sample": "xyzzy -456", "mutation": "space", "matches": "xyzzy-456"}
    assert rule["passes"] == [close]
    output = run("test", "--near-miss", str(file)).output
    assert "\nmine.magic-word  1/1 high      0/1 " in output
    assert "\nmine.magic-word (space)\n  xyzzy -456\n  xyzzy-456\n" in output


def test_near_misses_fail_nothing_and_may_be_none(tmp_path: Path) -> None:
    result = run("test", "--near-miss", "--rule", "*.classifier", "--json")
    rules = json.loads(result.output)["near_miss"]
    assert rules
    assert all(rule["matches"]["case"]["tried"] for rule in rules)


def test_what_rules_cost_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(pack())
    told = json.loads(run("test", "--speed", "--json", str(file)).output)
    (rule,) = told["speed"]
    assert rule["rule"] == "mine.magic-word"
    assert rule["prose"].keys() >= {"share", "false", "candidates", "blocks"}
    output = run("test", "--speed", str(file)).output
    assert "the slowest 1 of 1:" in output
    assert output.endswith(" s\n")
