"""The rules of one surface, run over values: texts in, matches out.

One Hyperscan database has all patterns of a surface: a pass over a block of text says which rules
could match in it, in time linear in the text for any input. Knows no policy, and of a message only
its texts and their places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING

from pipeguard.allocator import drop_pages
from pipeguard.detect.commands import argument_roles, argument_usage
from pipeguard.detect.matching.native_tables import make_rows, make_words
from pipeguard.detect.matching.pattern_set import (
    PatternGroup,
    PatternSet,
    compile_group,
    group_patterns,
)
from pipeguard.detect.model.classifier import (
    Classifier,
    OpenerFile,
    Ranking,
    Rescoring,
    unpack_classifier,
)
from pipeguard.detect.model.opener import Opener
from pipeguard.detect.rules.rule import Rule, View
from pipeguard.detect.scanning.first_look import (
    Look,
    RuleLookup,
    first_look,
    is_plainly_clean,
    is_silent,
    may_order,
)
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.readings import (
    READINGS,
    SIGNS,
    SIGNS_TO_SERVER,
    SQUEEZED_SIGNS,
)
from pipeguard.detect.scanning.rule_groups import (
    EngineRules,
    in_groups,
    plain_pattern,
    select_rules,
    squeezed_pattern,
)
from pipeguard.detect.scanning.scan import Scan
from pipeguard.detect.scanning.scan_budget import NOTHING_FOUND, PlaceOf, ScanInput, ScanResult
from pipeguard.detect.text.document import MessageText
from pipeguard.detect.text.encoding import Sign, make_pattern
from pipeguard.detect.words import bip39, word_set
from pipeguard.errors import EngineError
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.pending import NO_CALL, Targets
from pipeguard.firewall.protocol.places import Surface
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.detect.model.network import Network

# Rows of letters, which C finds: they cost Hyperscan 10 ns a byte.
ROWS = word_set("base64 hex base32 long-run spelled run-together")
# Signs for arguments, in groups that take no longer than apart, and half of the memory.
_TOGETHER = "uuencode", "numbered pieces", "acts windows", "literals"
_SIGNS = (*SIGNS, *SIGNS_TO_SERVER), tuple(SQUEEZED_SIGNS)


class Engine(RuleLookup):
    """The rules of one surface, ready to run. One thread at a time may use it.

    Attributes:
        surface: the surface that the engine is for (detect.scanning.first_look).
        key: hash of the sources of its rules and their code; empty if there is none.
    """

    def __init__(
        self,
        rules: EngineRules,
        patterns: tuple[PatternSet, PatternSet, PatternSet, Opener | None],
        models: Models,
    ) -> None:
        """Make an engine from rules and their compiled patterns.

        Args:
            rules: of this engine.
            patterns: compiled from the same rules, as those of `Patterns`.
            models: reads the file that a rule names as its model, when it is first needed.
        """
        super().__init__(rules, patterns, _SIGNS, partial(classifier, models=models))
        self.surface = rules.engine
        self.key = b""

    def load(self) -> None:
        """Load the databases that any text needs, so that the first text does not wait for them.

        Raises:
            EngineError: a database is damaged, or was compiled for another processor.
        """
        self.plain.load()
        if self.opener is not None:
            self.opener.load()
        if self.keyed:
            self.squeezed.load()

    def prepare(self) -> None:
        """Read the rules, and load their models and what all clones share, in any thread.

        Raises:
            EngineError: the database is damaged, or was compiled for another processor; a file is
                missing, or is not the one that its rule names.
        """
        self.plain.prepare()
        _ = self.rules.plain
        if self.opener is not None:
            self.opener.load()
        for rule in self.rules.with_classifier:  # some text of any list is read by a model
            self.classifier(rule).load()

    def scan(self, value: JsonValue, place_of: PlaceOf, surface: Surface) -> ScanResult:
        """Look at a whole message, and read it."""
        return self.read(self.look(value, surface), place_of)

    def look(self, value: JsonValue, surface: Surface, before: Look | None = None) -> Look:
        """Look at a value once; `before` is another engine's look, perhaps at the same texts.

        Raises:
            UnicodeEncodeError: a string has a lone surrogate.
            EngineError: the engine failed.
        """
        if before is not None and before.text.is_keyed is not self.keyed:
            before = None
        text = MessageText(value, keyed=self.keyed) if before is None else before.text
        seen = first_look(self, text, surface, None if before is None else before.seen)
        if seen is None or seen.hits or seen.joined_hits or seen.opened:
            return Look(surface, text, seen, is_silent=False)
        return Look(surface, text, seen, is_silent(self, text, seen, surface))

    def read(
        self, look: Look, place_of: PlaceOf, budgets: Budgets | None = None, call: Targets = NO_CALL
    ) -> ScanResult:
        """Run the rules for a surface over every string and key of a value after its first look.

        Args:
            look: of this engine.
            place_of: names the place of a path below the value.
            budgets: of the message that the value is part of; None if it is the whole message.
            call: the call, if the value is its result.

        Raises:
            EngineError: the engine failed.
        """
        surface, text, seen, has_nothing = look
        if budgets is None:
            budgets = Budgets(len(text.data))
        elif self.keyed or surface is not Surface.DEFINITIONS:  # which three engines read
            budgets.grow(len(text.data))
        if has_nothing:
            return NOTHING_FOUND  # most texts
        source = self._source(text, place_of, call)
        if seen is not None and is_plainly_clean(self, source, surface, seen):
            selection = seen.json.select(seen.texts[0], seen.opened, Origin(source, "text"))
            if not seen.opened or not may_order(self, selection, surface, seen.json.length):
                return NOTHING_FOUND
        budgets.is_exceeded = False
        scan = Scan(self, source, surface, budgets, seen)
        for reading in READINGS.values():
            if reading.to_server if self.keyed else reading.to_client:
                reading.read(scan)
        return scan.result()

    def _source(self, text: MessageText, place_of: PlaceOf, call: Targets = NO_CALL) -> ScanInput:
        tool = argument_roles.called_tool(text.value) if self.keyed else None
        return ScanInput(
            text, place_of, self.keyed, argument_usage.Uses(text, tool), call, self.dropped
        )

    def mask(self, data: bytes) -> bytes:
        """Replace the secrets in free text, such as a log line, by the rule's id."""
        text = data.decode("utf-8", "replace")
        parts = []
        at = 0
        for start, end, rule in sorted(self.find_secrets(text), key=lambda s: (s[0], -s[1])):
            if end > at:
                parts += [text[at:start], f"[masked:{rule}]"]
                at = end
        return "".join([*parts, text[at:]]).encode() if parts else data

    def find_secrets(self, text: str, without: str = "") -> list[tuple[int, int, str]]:
        """The secrets in free text: start and end in characters, and the rule that finds it.

        Args:
            text: the text.
            without: a rule that is not asked, and so does not count among the matches.
        """
        whole = MessageText(text.encode("utf-8", "replace").decode(), keyed=False)
        source = self._source(MessageText("", keyed=self.keyed), lambda _: "log.message")
        scan = Scan(self, source, self.surface, Budgets(len(whole.data)))
        return [
            (*whole.span(start, end), rule.id)
            for start, end, rule in scan.find_private(whole.data, without)
        ]


# --- databases --------------------------------------------------------------------------
# The Hyperscan databases of one engine: compiled from its rules, stored, loaded.

# Returns the content of the file that a rule names as its model, perhaps mapped from the file.
Models = Callable[[str], bytes | memoryview]


class Patterns(NamedTuple):
    """The sources of one engine's databases.

    Attributes:
        plain: for texts with their spaces.
        squeezed: for texts without spaces.
        acts: for the effects of arguments.
        opener: the file of the opener before the classifier; None if no rule has one.
    """

    plain: tuple[PatternGroup, ...]
    squeezed: tuple[PatternGroup, ...]
    acts: tuple[PatternGroup, ...]
    opener: OpenerFile | None


def collect_patterns(rules: Iterable[Rule], surface: Surface, models: Models) -> Patterns:
    """The patterns of one engine, in the order that detect.scanning.first_look expects.

    Args:
        rules: of all engines.
        surface: the engine's.
        models: reads the file that a rule names as its model.

    Raises:
        EngineError: a model is missing, or is not the one that its rule names.
    """
    chosen = list(select_rules(rules, surface))
    is_to_server = surface is Surface.TO_SERVER
    further, squeezed_only = (SIGNS_TO_SERVER, SQUEEZED_SIGNS) if is_to_server else ({}, {})
    phrases, *others = ([*map(plain_pattern, some)] for some in in_groups(chosen))
    first = len(SIGNS) + len(SIGNS_TO_SERVER)
    phrase_groups, words = group_patterns(first, [phrases]), make_words(bip39.in_order("WORDS"))
    squeezed_signs = [(sign, False) for sign in squeezed_only.values()]
    apart = [[rule for rule in chosen if rule.own is own] for own in (False, True)]
    squeezed = [[*filter(itemgetter(0), map(squeezed_pattern, some))] for some in apart]
    acts = [
        [(rule.pattern, rule.ignore_case) for rule in some if View.ACTS in rule.views]
        for some in apart
    ]
    openers = {classifier(rule, models).opener for rule in chosen if rule.model}
    if len(openers) > 1:
        raise EngineError(f"several openers for one surface: {surface.value}")
    return Patterns(
        (
            *_group_signs({**SIGNS, **further}),
            *(group._replace(tables=words) for group in phrase_groups),
            *group_patterns(first + len(phrases), others),
        ),
        (*group_patterns(0, [squeezed_signs]), *group_patterns(len(SQUEEZED_SIGNS), squeezed)),
        group_patterns(0, acts),
        next(iter(openers), None),
    )


def _group_signs(all_signs: Mapping[str, Sign]) -> Iterator[PatternGroup]:
    """Group the signs of a surface: rows of letters, other signs of all texts, then the others."""
    signs = [(id_, name, make_pattern(sign)) for id_, (name, sign) in enumerate(all_signs.items())]
    for names in (ROWS, SIGNS.keys() - ROWS, *map(word_set, _TOGETHER)):
        if chosen := [sign for sign in signs if sign[1] in names]:
            ids, _, patterns = zip(*chosen, strict=True)
            tables = make_rows(patterns) if names is ROWS else b""
            yield PatternGroup(ids, tuple((pattern, False) for pattern in patterns), tables)


def compile_engine(rules: Sequence[Rule], surface: Surface, models: Models) -> Engine:
    """Compile the rules of one engine, for this machine's processor.

    Args:
        rules: of all engines.
        surface: the engine's.
        models: reads the file that a rule names as its model.

    Raises:
        EngineError: Hyperscan is missing or rejects a pattern; a model is missing, or is not the
            one that its rule names.
    """
    patterns = collect_patterns(rules, surface, models)
    plain, squeezed, acts = (PatternSet.of(map(compile_group, some)) for some in patterns[:3])
    sets = plain, squeezed, acts, make_opener(patterns.opener, models)
    return Engine(EngineRules(lambda: rules, surface), sets, models)


def make_opener(file: OpenerFile | Ranking | None, models: Models) -> Opener | None:
    """The opener that a classifier names; its file is read with the first text."""
    if file is None:
        return None
    return Opener(partial(_read_file, file.file, file.file, file.sha256, models))


def classifier(rule: Rule, models: Models) -> Classifier:
    """The classifier that a rule names as its model.

    Raises:
        EngineError: its file is missing, not the one that the rule names, or not a classifier.
    """
    content = _read_file(f"{rule.id}: {rule.model}", rule.model, rule.sha256, models, "the rule")
    with _parsing(f"{rule.id}: {rule.model} is no classifier"):
        ranker = partial(make_opener, models=models)
        document = unpack_classifier(content)
        return Classifier(document, partial(_network, rule, models), ranker)


def _network(rule: Rule, models: Models, second: Rescoring) -> Network:
    """The network that a classifier names."""
    network = _last_network.get(second.sha256)
    if network is None:
        what = f"{rule.id}: {second.network}"
        content = _read_file(what, second.network, second.sha256, models, rule.model)
        # Imported after the file is read: without the form in C, `models` sets numpy up first.
        from pipeguard.detect.model.network import Network

        with _parsing(f"{what} is no network"):
            network = Network(content)
        _last_network.clear()
        _last_network[second.sha256] = network
    if second.output not in network.outputs:
        raise EngineError(f"{rule.id}: {second.network} has no output {second.output}")
    return network


_last_network: dict[str, Network] = {}  # at most one, by its hash: several classifiers share it


def _read_file(
    what: str, name: str, digest: str, models: Models, by: str = "a classifier"
) -> bytes | memoryview:
    """Read a file that a rule, or its model, names by its hash."""
    content = models(name)
    if sha256(content).hexdigest() != digest:
        raise EngineError(f"{what} is not the file that {by} names")
    drop_pages(content)  # all were read just now, of which texts need a third
    return content


@contextmanager
def _parsing(what: str) -> Iterator[None]:
    """Turn any error of a parser into an EngineError that names the file and the error."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise EngineError(f"{what} ({type(error).__name__}: {error})") from None
