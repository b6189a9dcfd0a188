"""`pipeguard rules`: lists the rules, shows one, and tests them by their samples."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter

import click

from pipeguard.cli import _completions as completions
from pipeguard.cli import _groups
from pipeguard.cli._emit import Fields, choice, emit, json_option, render, value_option
from pipeguard.config.directories import read
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.engine import Engine, compile_engine
from pipeguard.errors import EngineError, RuleError
from pipeguard.firewall.finding import Severity
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import (
    MAX_PACK_BYTES,
    PackFile,
    load_rules,
    model,
    sources,
    try_patterns,
)
from pipeguard.rulebook.proof import prove_all
from pipeguard.rulebook.rule_texts import code_rules
from pipeguard.rulebook.samples import texts
from pipeguard.runtime.progress import say_if_slow, wait_for_engines
from pipeguard.state.explanation import rule_fields
from pipeguard.unicode.display import cut, pluralize, suggestion

_LIST_THEM = "\n  List them:  pipeguard rules list"


@_groups.group("rules", "List, show and test the rules.")
def command() -> None:
    """List, show and test the rules: those that come with PipeGuard, and your own.

    \b
    Examples:
      pipeguard rules list --pack secrets --severity critical
      pipeguard rules test my-pack.yaml
    """  # noqa: D301  click reads the mark


@command.command("list")
@click.option("--pack", shell_complete=completions.packs, help="Only of this pack.")
@choice("--surface", [surface.value for surface in Surface], "Only for this.")
@choice("--severity", [level.name.lower() for level in Severity], "Only of this severity or worse.")
@json_option
def list_rules(*, pack: str | None, surface: str | None, severity: str | None) -> None:
    """List rules with their default actions, as in `pipeguard rules list --pack secrets`.

    `warn/block` blocks what a check or its way out makes sure: see `pipeguard explain RULE`.
    """
    every = load_rules()
    packs = sorted({rule.pack for rule in every})
    if pack is not None and pack not in packs:
        raise RuleError(f"no pack is called {pack!r}.\n  Available: {', '.join(packs)}")
    chosen = [
        rule
        for rule in every
        if (pack is None or rule.pack == pack)
        and (surface is None or Surface(surface) in rule.surfaces)
        and (severity is None or rule.severity >= Severity[severity.upper()])
    ]
    value = [rule_fields(rule) for rule in chosen]
    emit(value, lambda _: render("rules", {"rules": value}), empty="No rule matches.")


@command.command("show")
@click.argument("name", metavar="RULE", shell_complete=completions.rules)
@json_option
def show(name: str) -> None:
    """Show all of RULE, with pattern and samples, as in `pipeguard rules show secrets.jwt`."""
    rules = {rule.id: rule for rule in load_rules()}
    rule = rules.get(name)
    if rule is None:
        why = f"{name} has no pattern to show.\n  Read about it:  pipeguard explain {name}"
        if name not in code_rules():
            near = suggestion(name, [*rules, *code_rules()])
            why = f"no rule is called {name!r}.{near}{_LIST_THEM}"
        raise RuleError(why)
    samples = {"matches": list(rule.matches), "passes": list(rule.passes)}
    matched = _describe_match(rule)
    classified = {"model": rule.model, "sha256": rule.sha256}
    fields = {**rule_fields(rule), **matched, **classified, **samples}
    hidden = {"example", "near_miss", *(matched if rule.model else ())}
    emit(fields, lambda _: render("pattern", {"fields": fields, "hidden": hidden}))


def _describe_match(rule: Rule) -> dict[str, object]:
    """Describe a pattern and how a match is weighed; meaningless for a rule with a model."""
    return {
        "pattern": rule.pattern,
        "sign": rule.sign,
        "ignore_case": rule.ignore_case,
        "boundary": rule.boundary.value,
        "require": list(rule.require),
        "check": list(rule.check),
        "placeholders": rule.placeholders,
        "written": rule.written.value,
        "quoted": "lower" if rule.quoted else "",
        "several": "raise" if rule.several else "",
    }


@command.command("test")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
@value_option(
    "--rule",
    "GLOB",
    "Only rules whose id matches.",
    "glob",
    default="*",
    shell_complete=completions.rules,
)
@json_option
def test(*, file: str | None, glob: str) -> None:
    """Run the samples of every rule, or of the rules in FILE, through the whole scanner.

    Each of a rule's `matches` must give a finding of that rule with at least its own confidence,
    and none of its `passes` may give one, except a match that its `unless` downgrades to a note.

    \b
    Examples:
      pipeguard rules test
      pipeguard rules test my-pack.yaml
      pipeguard rules test --rule "secrets.git*"

    \b
    Exit codes:
      0  every sample passes
      1  some do not, and each is listed
      2  a pack is invalid, or no rule's id matches
      3  the scan engine is missing
    """  # noqa: D301  click reads the mark
    began = perf_counter()
    packs = sources()
    others = tuple[PackFile, ...]()
    if file:
        others = tuple(pack for pack in packs if not Path(file).samefile(pack.path))
        packs = (PackFile(file, read(file, MAX_PACK_BYTES, RuleError)[0], shipped=False),)
    every = load_rules(pack._replace(shipped=False) for pack in packs)  # proves shipped ones, too
    if others and not any(pack.content == packs[0].content for pack in others):
        load_rules([*others, *packs])  # which refuses an id that is in use
    rules = [rule for rule in every if fnmatchcase(rule.id, glob)]
    if not rules:
        of_file, list_them = (f" of {file}", "") if file else ("", _LIST_THEM)
        near = suggestion(glob, [rule.id for rule in every], listed=not file)
        raise RuleError(f"no rule{of_file} is called {glob!r}.{near}{list_them}")
    proving: Sequence[Engine] = _alone(every, packs) if file else wait_for_engines()
    with say_if_slow(f"trying the samples of {pluralize(len(rules), 'rule')}"):
        failures = list(prove_all(rules, proving))
    seconds = perf_counter() - began
    count = sum(len(texts(sample)) for rule in rules for sample in (*rule.matches, *rule.passes))
    fields = [{**failure._asdict(), "surface": failure.surface.value} for failure in failures]
    value = {"rules": len(rules), "samples": count, "seconds": seconds, "failures": fields}
    emit(value, _outcome, code=1 if failures else 0)


def _outcome(value: Fields) -> str:
    return render("proof", value, cut=cut)


def _alone(rules: Sequence[Rule], packs: Sequence[PackFile]) -> list[Engine]:
    """Make engines for the rules of one file; all rules together take seconds to compile."""
    with say_if_slow(f"compiling {pluralize(len(rules), 'rule')}"):
        try:
            return [compile_engine(rules, surface, model) for surface in Surface]
        except EngineError:
            try_patterns(packs)
            raise
