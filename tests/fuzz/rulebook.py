"""The shipped rules and their samples, for properties that hold for all of them."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from hypothesis import strategies as st

from pipeguard import Engines, load_engines
from pipeguard.detect.rules.rule import Rule, View
from pipeguard.detect.scanning.engine import Engine
from pipeguard.detect.scanning.rule_groups import choose_engine
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import load_rules
from pipeguard.rulebook.proof import sample_place
from pipeguard.rulebook.samples import texts

ALL = {rule.id: rule for rule in load_rules()}
# A rule that has a classifier has no pattern: tests/detect/model is about those.
RULES = {name: rule for name, rule in ALL.items() if rule.pattern}


class Sample(NamedTuple):
    """A text that a rule must find.

    Attributes:
        rule: the rule.
        text: the text.
        found: the part of it that the pattern matches.
        secret: the part of that which is the secret.
    """

    rule: Rule
    text: str
    found: str
    secret: str

    def __repr__(self) -> str:
        return f"<{self.rule.id}>"


def expression(rule: Rule) -> re.Pattern[bytes]:
    """The rule's pattern as the scan runs it."""
    flags = re.ASCII | (re.IGNORECASE if rule.ignore_case else 0)
    return re.compile(rule.pattern.encode(), flags)


@cache
def samples() -> tuple[Sample, ...]:
    """Every sample that must match and does as it stands, written out."""
    made = []
    for rule in RULES.values():
        pattern = expression(rule)
        for text in dict.fromkeys(one for sample in rule.matches for one in texts(sample)):
            if match := pattern.search(text.encode()):
                secret = match["secret"] if "secret" in pattern.groupindex else match[0]
                found, secret = match[0], secret or match[0]
                made.append(Sample(rule, text, found.decode(), secret.decode()))
    return tuple(made)


@cache
def decodable(pack: str, surface: Surface) -> tuple[Sample, ...]:
    """Return a pack's samples for rules that run over decoded text, at the usual places."""
    usual = {"call.arguments", "result.text", "tool.description"}
    return tuple(
        sample
        for sample in samples()
        if sample.rule.pack == pack
        and surface in sample.rule.surfaces
        and {View.TEXT, View.DECODED} <= sample.rule.views
        and sample_place(sample.rule, surface) in usual
    )


def drawn_from(choose: Callable[[], Sequence[Sample]]) -> st.SearchStrategy[Sample]:
    """A strategy of samples that are made with the first example, not while tests are collected."""
    return st.deferred(lambda: st.sampled_from(choose()))


@cache
def engines() -> Engines:
    """The compiled rules, once for all tests of a run."""
    return load_engines()


@cache
def engine_of(rule_id: str) -> Engine:
    """The engine that a rule is compiled into."""
    made = engines()
    homes = {one.surface: one for one in (made.to_server, made.to_client, made.definitions)}
    return homes[choose_engine(RULES[rule_id], Surface.TO_SERVER)]
