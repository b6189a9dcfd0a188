"""What is compiled of the rules of one home, and how it is loaded. Runs no rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.digest import sha256
from pipeguard.core.matching.pattern_set import PatternSet, make
from pipeguard.core.model import prefilter
from pipeguard.core.model.classifier import Classifier, Second, load
from pipeguard.core.model.prefilter import Prefilter
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import Rule, View
from pipeguard.core.scanning.readings import SIGNS, SIGNS_TO_SERVER, SQUEEZED_SIGNS
from pipeguard.core.scanning.rule_partition import in_groups, residents, squeezed_pattern
from pipeguard.errors import EngineError

if TYPE_CHECKING:
    from pipeguard.core.model.network import Network

Models = Callable[[str], bytes]  # gives the file that a rule names as its model

LEAST_WEIGHT = 500  # hundredths; tests/core/model/test_classifier.py holds what it lets pass unread


def build(
    rules: Iterable[Rule], surface: Surface, models: Models | None = None
) -> tuple[bytes, bytes, bytes, bytes]:
    """Compile the rules whose home a surface is for this machine's processor.

    Args:
        rules: of every home.
        surface: the home.
        models: gives the file that a rule names as its model.

    Returns:
        What `loaded` takes: for texts as they are, for squeezed ones, for what arguments do, and
        the gate of what a classifier reads, which is empty where there is none.

    Raises:
        EngineError: the engine is absent, or it does not take a pattern.
    """
    chosen = list(residents(rules, surface))
    private, others = (
        [(rule.sign or rule.pattern, rule.ignore_case) for rule in group]
        for group in in_groups(chosen)
    )
    # Each of these apart, since together they take longer than one after the other.
    groups = {0: [(sign, False) for sign in SIGNS.values()]}
    if surface is Surface.TO_SERVER:
        groups |= {
            at: [(sign, False)] for at, sign in enumerate(SIGNS_TO_SERVER.values(), len(SIGNS))
        }
    first = len(SIGNS) + len(SIGNS_TO_SERVER)
    groups |= {first: private, first + len(private): others}
    acting = [(rule.pattern, rule.ignore_case) for rule in chosen if View.ACTS in rule.views]
    squeezed = list(filter(itemgetter(0), map(squeezed_pattern, chosen)))
    torn = {0: squeezed}
    if surface is Surface.TO_SERVER:
        torn[len(squeezed)] = [(sign, False) for sign in SQUEEZED_SIGNS.values()]
    reading = [classifier(rule, models) for rule in chosen if rule.model]
    opening = {word: weight for one in reading for word, weight in one.opening}
    gate = prefilter.make(opening.items()) if opening else b""
    return make(groups), make(torn), make({0: acting}), gate


class Plans(NamedTuple):
    """What was compiled of the rules of one home.

    Attributes:
        plain: for texts as they are.
        squeezed: for those without spaces.
        acts: for what arguments do.
        gate: of what a classifier reads; None where there is none.
    """

    plain: PatternSet
    squeezed: PatternSet
    acts: PatternSet
    gate: Prefilter | None


def loaded(blobs: Sequence[bytes]) -> Plans:
    """What `build` made, ready to run.

    Raises:
        EngineError: it is not whole, or made for another processor.
    """
    plain, squeezed, acts, gate = blobs
    opened = prefilter.opened(gate, LEAST_WEIGHT) if gate else None
    return Plans(PatternSet(plain), PatternSet(squeezed), PatternSet(acts), opened)


def classifier(rule: Rule, models: Models | None) -> Classifier:
    """What a rule's model says of a text.

    Raises:
        EngineError: its file is not the one that the rule names, or no classifier.
    """
    content = _file(rule, models, rule.model, rule.sha256, "the rule")
    with _refused(f"{rule.id}: {rule.model} is no classifier"):
        return load(content, partial(_network, rule, models))


def _network(rule: Rule, models: Models | None, second: Second) -> Network:
    """The second reader that a classifier names; the last one is kept, for what else names it."""
    network = _last.get(second.sha256)
    if network is None:
        content = _file(rule, models, second.network, second.sha256, rule.model)
        # Not before: numpy costs a start 70 ms, and who gives the file may say how it is to begin.
        from pipeguard.core.model.network import Network

        with _refused(f"{rule.id}: {second.network} is no network"):
            network = Network(content)
        _last.clear()
        _last[second.sha256] = network
    if second.output not in network.outputs:
        raise EngineError(f"{rule.id}: {second.network} has no output {second.output}")
    return network


_last: dict[str, Network] = {}


def _file(rule: Rule, models: Models | None, name: str, digest: str, by: str) -> bytes:
    """A file that something names by its hash."""
    content = models(name) if models is not None else b""
    if sha256(content).hexdigest() != digest:
        raise EngineError(f"{rule.id}: {name} is not the file that {by} names")
    return content


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Say of a file that cannot be read what it is not."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise EngineError(f"{what} ({type(error).__name__}: {error})") from None
