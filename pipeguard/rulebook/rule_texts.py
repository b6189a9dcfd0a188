"""Rules that are code, not entries of a pack: their ids and descriptions, by family or singly."""

from functools import cache
from pathlib import Path
from typing import NamedTuple


class RuleText(NamedTuple):
    """The text about a rule, or a family of rules."""

    title: str
    why: str


@cache
def _read_texts() -> dict[str, RuleText | None]:
    """The texts by family, and by rule; None for a rule with only its family's text."""
    import yaml  # here, because most policies name no such rule

    texts: dict[str, RuleText | None] = {}
    for family, entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes()).items():
        usual = {name: entry[name] for name in RuleText._fields if name in entry}
        if usual:
            texts[family] = RuleText(**usual)
        for rule, own in entry["rules"].items():
            texts[f"{family}.{rule}"] = RuleText(**(usual | own)) if own else None
    return texts


def code_rules() -> list[str]:
    """The ids of all rules that are code."""
    return [rule for rule in _read_texts() if "." in rule]


def find_text(rule: str) -> RuleText | None:
    """The text of a rule that is code; None for others. Ids of older versions have a family's."""
    texts = _read_texts()
    return texts.get(rule) or texts.get(rule.partition(".")[0])
