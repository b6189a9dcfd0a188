"""The rules of one surface, run over values: texts in, matches out.

One Hyperscan database has all patterns of a surface: a pass over a block of text says which rules
could match in it, in time linear in the text for any input. Knows no policy, and of a message only
its texts and their places.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import cache, partial

from pipeguard.detect.commands.argument_roles import called_tool
from pipeguard.detect.commands.argument_usage import Uses
from pipeguard.detect.model.opener import Opener
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.databases import Models, PatternSets, classifier
from pipeguard.detect.scanning.first_look import RuleLookup, first_look, is_plainly_clean
from pipeguard.detect.scanning.readings import (
    READINGS,
    SIGNS,
    SIGNS_TO_SERVER,
    SQUEEZED_SIGNS,
)
from pipeguard.detect.scanning.rule_partition import EngineRules
from pipeguard.detect.scanning.scan import Scan
from pipeguard.detect.scanning.scan_input import PlaceOf, ScanInput
from pipeguard.detect.scanning.scan_result import NOTHING_FOUND, ScanResult
from pipeguard.detect.text.document import MessageText
from pipeguard.firewall.budgets import Budgets
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.pending import NO_CALL, Targets
from pipeguard.firewall.protocol.places import Surface

_SIGNS = (*SIGNS, *SIGNS_TO_SERVER), tuple(SQUEEZED_SIGNS)


class Engine:
    """The rules of one surface, ready to run. One thread at a time may use it.

    Attributes:
        surface: the surface that the engine is for (detect.scanning.rule_partition).
        surfaces: all surfaces that any of its rules is run over.
        keyed: True if texts are read as `key: value`, as those that go to a server.
        lookup: the rules.
    """

    def __init__(
        self,
        rules: Iterable[Rule] | EngineRules,
        surface: Surface,
        patterns: PatternSets,
        models: Models | None = None,
    ) -> None:
        """Make an engine of rules and what was compiled from them.

        Args:
            rules: of this engine, or of all engines.
            surface: the surface that the engine is for.
            patterns: compiled from the same rules.
            models: reads the file that a rule names as its model, when it is first needed.
        """
        if not isinstance(rules, EngineRules):
            all_rules = tuple(rules)
            rules = EngineRules(lambda: all_rules, surface)
        self.surface = surface
        self.surfaces = rules.surfaces
        self.keyed = surface is Surface.TO_SERVER
        self.lookup = RuleLookup(rules, patterns, _SIGNS, partial(classifier, models=models))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Its rules, in the order in which they are read."""
        return self.lookup.rules.all

    @property
    def opener(self) -> Opener | None:
        """The opener of the stretches that a classifier reads; None without a classifier."""
        return self.lookup.opener

    def load(self) -> None:
        """Load the databases that any text needs, so that the first text need not wait for them.

        Raises:
            EngineError: a database is damaged, or was compiled for another processor.
        """
        self.lookup.plain.load()
        if self.opener is not None:
            self.opener.load()
        if self.keyed:
            self.lookup.squeezed.load()

    def prepare(self) -> None:
        """Read the rules and load the database that are shared with all clones, in any thread.

        Raises:
            EngineError: the database is damaged, or was compiled for another processor.
        """
        self.lookup.plain.prepare()
        _ = self.lookup.rules.plain

    def load_models(self) -> None:
        """Load the models that its rules name, which some texts need, in any thread.

        Raises:
            EngineError: a file is missing, or is not the one that its rule names.
        """
        for rule in self.lookup.rules.with_classifier:
            self.lookup.classifier(rule).load()

    def clone(self) -> Engine:
        """Clone the rules for another thread."""
        other = copy(self)
        other.lookup = self.lookup.clone()
        return other

    def scan(
        self,
        value: JsonValue,
        place_of: PlaceOf,
        surface: Surface,
        budgets: Budgets | None = None,
        call: Targets = NO_CALL,
    ) -> ScanResult:
        """Run the rules for a surface over every string and key of a value.

        Args:
            value: any JSON value.
            place_of: names the place of a path below the value.
            surface: what the value is judged as.
            budgets: of the message that the value is part of; None if it is the whole message.
            call: of which the value is the result.

        Raises:
            UnicodeEncodeError: a string has a lone surrogate.
            EngineError: the engine failed.
        """
        text = MessageText(value, keyed=self.keyed)
        if budgets is None:
            budgets = Budgets(len(text.data))
        elif self.keyed or surface is not Surface.DEFINITIONS:  # which three engines read
            budgets.grow(len(text.data))
        seen = first_look(self.lookup, text)
        source = self._source(text, place_of, call)
        if seen is not None and is_plainly_clean(self.lookup, source, surface, seen):
            return NOTHING_FOUND
        budgets.is_exceeded = False
        scan = Scan(self.lookup, source, surface, budgets, seen)
        for reading in READINGS.values():
            if reading.to_server if self.keyed else reading.to_client:
                reading.read(scan)
        return scan.result()

    def _source(self, text: MessageText, place_of: PlaceOf, call: Targets = NO_CALL) -> ScanInput:
        tool = called_tool(text.value) if self.keyed else None
        return ScanInput(text, cache(place_of), self.keyed, Uses(text, tool), call)

    def mask(self, data: bytes) -> bytes:
        """Replace the secrets in free text, such as a line of a log, by the rule's id."""
        text = data.decode("utf-8", "replace").encode()
        nothing = MessageText("", keyed=self.keyed)
        source = self._source(nothing, lambda _: "log.message")
        scan = Scan(self.lookup, source, self.surface, Budgets(len(text)))
        pieces, at = [], 0
        for start, end, rule in sorted(scan.spans(text), key=lambda span: (span[0], -span[1])):
            if rule.is_private and end > at:
                pieces.append(text[at:start] + b"[masked:" + rule.id.encode() + b"]")
                at = end
        return b"".join((*pieces, text[at:])) if pieces else data
