"""The reference of rules in Markdown, a page for each pack, generated from the rules.

The output depends on the rules alone, so a test can check that the pages in the repository are up
to date. A sample that is a recipe is shown as a recipe: no page contains a live-looking token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.detect.rules.rule import Leaving
from pipeguard.firewall.finding import Action, Confidence
from pipeguard.firewall.policy import PolicyTarget, default_action
from pipeguard.firewall.protocol.places import Surface

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.detect.rules.rule import Rule, Sample

_RAISED = (Leaving.RAISE, Leaving.ONLY)
SHOWN_CHARS = 300  # of a sample: a few are whole pages
_MADE = "<!-- Made from rules/{pack}.yaml by `make docs`. -->"

_TOLD_BY = (
    "- Told by: a [classifier](../detection.md#classifiers) whose weights are in `rules/{model}`,"
    " not by a pattern. How sure it is goes with the passage; the confidence above is that of a"
    " sure one."
)


def pages(rules: Iterable[Rule]) -> dict[str, str]:
    """The page of each pack by its name, and `index`, which lists the packs."""
    packs: dict[str, list[Rule]] = {}
    for rule in rules:
        packs.setdefault(rule.pack, []).append(rule)
    made = {pack: _page(pack, entries) for pack, entries in sorted(packs.items())}
    return {**made, "index": _index(packs)}


def usual_action(rule: Rule) -> Action:
    """The action for an ordinary match where the policy has no entry for the rule."""
    is_cuttable = bool(rule.model) and Surface.TO_CLIENT in rule.surfaces
    return default_action(
        PolicyTarget(
            *(rule.id, rule.severity, rule.confidence, "", "", None), is_cuttable=is_cuttable
        )
    )


def find_sure_action(rule: Rule) -> Action:
    """Find the action for a match once one of `list_raises` raises its confidence."""
    return usual_action(rule._replace(confidence=Confidence.HIGH) if list_raises(rule) else rule)


def list_raises(rule: Rule) -> list[str]:
    """List the conditions that raise the confidence of a match."""
    is_one_step = rule.confidence is Confidence.MEDIUM
    return [
        *(["a check of the match holds"] if rule.check else []),
        *(["a message has two different ones"] if is_one_step and rule.several else []),
        *(["a call requests it from another host"] if rule.leaving in _RAISED else []),
    ]


def _index(packs: dict[str, list[Rule]]) -> str:
    lines = [
        _MADE.format(pack="*"),
        "# Rules",
        "",
        (
            "Each rule with the samples that prove it. How to read and write one:"
            " [rules](../rules.md)."
        ),
        "",
        "| pack | rules | of which block or cut by default |",
        "|---|---|---|",
    ]
    for pack, rules in sorted(packs.items()):
        blocking = sum(usual_action(rule) >= Action.CUT for rule in rules)
        lines.append(f"| [{pack}]({pack}.md) | {len(rules)} | {blocking} |")
    return "\n".join(lines) + "\n"


def _page(pack: str, rules: list[Rule]) -> str:
    lines = [_MADE.format(pack=pack), f"# Rules: {pack}", ""]
    lines += ["| rule | finds | severity | confidence | by default |", "|---|---|---|---|---|"]
    for rule in rules:
        name = rule.id.partition(".")[2]
        lines.append(
            f"| [{name}](#{rule.id.replace('.', '')}) | {_cell(rule.title)}"
            f" | {_word(rule.severity.name)} | {_word(rule.confidence.name)}"
            f" | {_word(usual_action(rule).name)} |"
        )
    for rule in rules:
        lines += ["", *_entry(rule)]
    return "\n".join(lines) + "\n"


def _entry(rule: Rule) -> list[str]:
    looks = ", ".join(sorted(surface.value for surface in rule.surfaces))
    at = f" ({', '.join(f'`{place}`' for place in rule.places)})" if rule.places else ""
    views = ", ".join(sorted(view.value for view in rule.views))
    lines = [
        f"## {rule.id}",
        "",
        f"{rule.title}. {rule.why}",
        "",
        f"- What to do: {rule.fix}",
        f"- Looks at: {looks}{at}; read as {views}.",
    ]
    if rule.model:
        lines.append(_TOLD_BY.format(model=rule.model))
    checks = [f"`{spec}`" for spec in (*rule.require, *rule.check)]
    if checks:
        lines.append(f"- Checked by: {', '.join(checks)}.")
    if rule.owasp:
        lines.append(f"- OWASP: {rule.owasp}.")
    lines += ["", "Finds:", "", *_samples(rule.matches), "", "Lets by:", "", *_samples(rule.passes)]
    return lines


def _samples(samples: Iterable[Sample]) -> list[str]:
    """One line for each sample, whose own line ends are shown as `↵`."""
    lines = []
    for sample in samples:
        text = sample if isinstance(sample, str) else sample["gen"]
        shown = text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
        lines.append(_printable(shown.replace("\n", "↵")))
    return ["~~~~text", *lines, "~~~~"]


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in line)


def _word(name: str) -> str:
    return name.lower()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
