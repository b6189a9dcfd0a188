"""`pipeguard rules`: listed, shown, tested, and their reference up to date."""

import json
from pathlib import Path

import yaml
from click import unstyle
from click.testing import CliRunner, Result

from pipeguard.cli.rules import _outcome, command
from pipeguard.rulebook.packs import load_rules
from tests.rulebook.test_packs import pack
from tests.snapshot import Snapshot

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


def test_the_list_says_what_blocks_once_it_is_sure() -> None:
    actions = {rule["rule"]: (rule["default_action"], rule["sure_action"]) for rule in listed()}
    lines = {line.split()[0]: line.split()[1] for line in run("list").output.splitlines()}
    for rule, shown in (
        ("secrets.database-url", "warn/block"),  # its check
        ("personal.card-leaving", "warn/block"),  # its way out
        ("secrets.github-token", "block"),
    ):
        assert lines[rule] == shown == "/".join(dict.fromkeys(map(str, actions[rule])))


def test_a_rule_is_shown_with_its_pattern_and_samples() -> None:
    rule = next(rule for rule in load_rules() if rule.id == "secrets.github-token")
    told = json.loads(run("show", rule.id, "--json").output)
    assert told["pattern"] == rule.pattern
    assert told["matches"] == list(rule.matches)


def test_what_is_shown(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(pack())
    (tmp_path / "wrong.yaml").write_text("rules: none")
    (tmp_path / "places.yaml").write_text(pack() + "  places: [call.argumens]\n")
    (tmp_path / "recipe.yaml").write_text(pack().replace("[xyzzy-12]", "[{gen: 'xyzzy-{digi:2}'}]"))
    rule = pack().partition("rules:\n")[2]
    several = "".join(rule.replace("magic-word", f"no-{each}") for each in range(2))
    several = several.replace("severity:", "severtiy:")
    (tmp_path / "several.yaml").write_text(pack() + several + rule)
    snapshot.commands(
        "rules",
        f"""
        rules list --pack sql --surface definitions
        rules list --pack nope  # 2
        rules show secrets.jwt
        rules show injection.classifier
        rules show egress.address  # 2
        rules show protocol.duplicate-key  # 2
        rules show secrets.githb-token  # 2
        rules test {tmp_path}/wrong.yaml  # 2
        rules test {tmp_path}/places.yaml  # 2
        rules test {tmp_path}/several.yaml  # 2
        rules test {tmp_path}/recipe.yaml  # 2
        rules test {tmp_path}/mine.yaml --rule magic-word  # 2
        rules test --rule secrets.gitlub-token  # 2
        rules test --rule none.*  # 2
        """,
    )


def test_a_pack_with_a_classifier_is_tested_by_itself(tmp_path: Path) -> None:
    content = yaml.safe_load((TOP / "rules/injection.yaml").read_text())
    content["rules"] = [rule for rule in content["rules"] if "model" in rule]
    content["pack"] = "mine"
    file = tmp_path / "injection.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    result = run("test", str(file))
    assert result.exit_code == 0, result.exception
    assert result.output.startswith("1 rule, ")


def test_a_pack_whose_id_is_in_use_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(pack("secrets", "jwt"))
    result = CliRunner().invoke(command, ["test", str(file)])
    assert "mine.yaml: secrets.jwt is already in" in str(result.exception)


def test_what_fails_is_listed(snapshot: Snapshot, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        pack()
        .replace("matches: [xyzzy-123]", "matches: [xyzzy-12]")
        .replace("passes: [xyzzy-12]", "passes: [xyzzy-123]")
    )
    done = snapshot.run(f"rules test --json {file}")
    assert done.code == 1
    text = "\n".join([done.out, _outcome(json.loads(done.out))])
    snapshot.text("rules-failures", unstyle(text))
