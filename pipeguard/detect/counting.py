"""The facts about a match in its message: where it goes, and where it came from.

A server is trusted to keep data here if it runs here, all its tools describe their function, and
no description says that something leaves or comes from outside. Its own promise to reach nothing
(`openWorldHint: false`) counts for nothing. A server that lies about all of this gains little: it
gets passwords that only their name gives away, with a warning. Keys with a known form, other
servers' results and the server's own secrets in a wrong folder are judged as everywhere.
"""

import re
from collections.abc import Sequence
from functools import cached_property

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.commands.argument_roles import ArgumentRole, role
from pipeguard.detect.flows import leak_search, secret_egress, secret_values, text_values
from pipeguard.detect.flows.key_files import (
    is_key_file,
    is_same_folder,
    is_seen_by_others,
    written_files,
)
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.way_out import MOST_STRINGS, WayOut, is_sent_by_line, way_out
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.rules.rule import Leaving
from pipeguard.detect.scanning.rating import DATA, DROP, ENSURE, LIMIT, Table, find_pattern_near
from pipeguard.detect.scanning.scan_budget import Match
from pipeguard.detect.scanning.surroundings import SHOWN_CHARS
from pipeguard.firewall.finding import Action, Confidence, Finding, Severity
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, with_strings
from pipeguard.firewall.protocol.places import ARGUMENTS, get_value
from pipeguard.firewall.session.guard import EXEMPT, Context

# Abilities through which a secret could leave. Running something counts too, but not in an
# argument for a credential: a command has to be told how to log in.
_PASSES_ON = Label.SENDS | Label.OUTSIDE | Label.KEEPS | Label.TAKES_IN
# Abilities of tools whose results are not followed wherever they go.
_PASSES_ON_RESULTS = Label.SENDS | Label.OUTSIDE | Label.RUNS | Label.READS_SECRET
# Readings of links as mails have them.
_IN_PLACE = frozenset(("text", "folded", "entities", "escapes", "percent", "quoted-printable"))
# The format of a token of any kind.
_TOKEN_RULES = "secrets.jwt", "secrets.jwt-short"
# Readings that keep a text as it is, except between its letters, literals and strings.
_JOINING = frozenset(("folded", "joined", "literals", "pieces", "squeezed"))
# The values of `leaving` in rules that know a secret only by its name, or without one.
_BY_NAME = Leaving.LOWER, Leaving.ONLY
_COUNTS_LEAVING = Leaving.RAISE, Leaving.ONLY


_TOOL_NAME = lazy_regex(r"\w+_\w+|(?<=`)[\w.-]+(?=`)")
FIXTURE_CHARS = 600  # read around a hash to find its purpose
_HASH = lazy_regex(
    r"\$(?:2[aby]|[56y]|argon2id?|scrypt)\$|(?:pbkdf2|scrypt|argon2|bcrypt)[\w:]{0,16}[$:]"
)
# A password is of a test or an example: words around it, paths of its file.
_FIXTURE = lazy_regex(
    r"""
    (?<![a-z])(?:fixtures?|seed(?:s|ed|er|ers|ing)?|factor(?:y|ies)|conftest|demo|dummy
        |mock|sample|test\x20(?:data|users?|accounts?)|local\x20dev(?:elopment)?
        |development\x20default)(?![a-z])
    | \bfor\x20example\b | \bexample: | (?:^|/)(?:tests?|__tests__|specs?|examples?|docs)/
    | (?:^|/)readme(?:\.[a-z]{2,5})?\Z
    | (?:^|/)(?:test_[^/]{1,60}|[^/]{1,60}[._-](?:test|spec))\.[a-z]{1,4}\Z""",
    re.IGNORECASE | re.VERBOSE,
)


class LocatedMatch:
    """One match in one message, with the facts of IN_MESSAGE.

    Args:
        knowledge: of the server.
        context: where the value is.
        value: the judged message, or a part of one.
        match: in it.

    Attributes:
        returning: matches of secrets that go back to where they came from.
        others: all matches in the message.
    """

    returning: Sequence[Match] = ()
    others: Sequence[Match] = ()

    def __init__(
        self, knowledge: Knowledge, context: Context, value: JsonValue, match: Match
    ) -> None:
        self.knowledge, self.context, self.value = knowledge, context, value
        self.match = match
        # The called tool; a nameless one, which does nothing, for a message that calls none.
        self.tool = knowledge.tools.label(context.guard, context.tool or "")
        self.is_argument = (
            context.tool is not None and context.place(match.path) == "call.arguments"
        )
        string = get_value(value, match.path)
        self.text = string if isinstance(string, str) else ""
        self._span = match.start, match.end

    @cached_property
    def way(self) -> WayOut:
        """The way out of the string with the match."""
        if not self.is_argument:
            return WayOut.NOWHERE
        return way_out(self.tool, self.value, self.match.path, self._span)

    @property
    def _is_named(self) -> bool:
        """True in an argument for what only its name shows to be secret."""
        is_named = self.match.rule.leaving is Leaving.LOWER and not self.match.is_sample
        return is_named and self.is_argument

    def stays_in_tool(self) -> bool:
        """True if only its name shows it, and the argument stays on this machine."""
        is_kept = self._is_named and self.way is WayOut.NOWHERE and self.is_kept_here
        return is_kept and not is_sent_by_line(self.value, self.match.path, self._span)

    def is_typed(self) -> bool:
        """True if it is all that a tool types into a field, perhaps where its user logs in."""
        is_all = self._is_named and self._span == (0, len(self.text))
        return (
            is_all
            and self.way < WayOut.REQUESTED
            and leak_search.rate_severity(self.tool) is Severity.HIGH
        )

    @cached_property
    def is_kept_here(self) -> bool:
        """True if an argument is only kept, and on this machine.

        It is in a file or a record that the tool writes, or in a statement for a database; no tool
        of the server says that data leaves, and no file that the call names is in a place that
        others see.
        """
        is_statement = role(self.tool.name, self.match.path) is ArgumentRole.STATEMENT
        if not (self.tool.stores or is_statement) or not self.knowledge.tools.stay_here(
            self.context.guard
        ):
            return False
        return not any(map(is_seen_by_others, written_files(self.value)))

    def is_key_in_its_file(self) -> bool:
        """True if a key is written unchanged to a file on this machine that is meant for keys."""
        is_plain = self.match.rule.id.startswith("secrets.") and self.match.view == "text"
        is_kept_here = is_plain and self.is_argument and self.is_kept_here
        return is_kept_here and are_key_files(written_files(self.value))

    def is_fixture_hash(self) -> bool:
        """True for a password hash in a fixture, test or example, by its file or text."""
        match = self.match
        if not match.rule.is_private or not _HASH.match(self.text, match.start):
            return False
        around = self.text[max(0, match.start - FIXTURE_CHARS) : match.end + FIXTURE_CHARS]
        paths, _ = self.context.call.facts.names
        named = [*paths, *(written_files(self.value) if self.is_argument else ())]
        return any(map(_FIXTURE.search, (around, *named)))

    def names_own_tools(self) -> bool:
        """True for an order for the sake of a check that names only tools of the same list."""
        group, match = self.context.group, self.match
        if match.rule.id != "poisoning.tool-for-pretext" or group is None:
            return False
        names = {each.get("name") for each in group.values if type(each) is dict}
        end = (self.text + ". ").index(". ", match.end)
        words = {*_TOOL_NAME.findall(self.text, match.start, end)} - {self.context.tool}
        return bool(words) and words <= names

    @cached_property
    def one_time_token(self) -> str:
        """The token of a one-time link in a mail, or the like; empty for any other match.

        Its reader is meant to open it. The results of such a tool are followed everywhere.
        """
        match = self.match
        if not self._has_no_issuer:
            return ""
        labels, begin = self.tool.labels, "" if match.exact else match.excerpt[:SHOWN_CHARS]
        is_followed = labels.meets(Label.READS_PRIVATE) and not labels.meets(_PASSES_ON_RESULTS)
        is_read = is_followed and self.context.place(match.path).startswith("result.")
        if not is_read or "…" in begin or not _IN_PLACE.issuperset(match.view.split(">")):
            return ""
        return secret_values.find_one_time_token(self.text, match.start, match.end, begin)

    def works_once(self) -> bool:
        """True for such a token, and inside the server's own address that a call only requests."""
        if self.one_time_token:
            return True
        if not (self.is_argument and self._has_no_issuer):
            return False
        address = secret_egress.find_address_around(self.text, self.match.start)
        if not (address and self.knowledge.flows.has_returned(address)):
            return False
        strings = text_values.list_named_strings(get_value(self.value, ARGUMENTS))
        return len(strings) <= MOST_STRINGS and address in secret_egress.find_opened(
            self.tool.labels, strings
        )

    @property
    def _has_no_issuer(self) -> bool:
        """True for a secret that only its name shows, or with a form that many programs use."""
        rule = self.match.rule
        return rule.is_private and (rule.leaving in _BY_NAME or rule.id in _TOKEN_RULES)

    def is_for_agents(self) -> bool:
        """True for a sure order in a file that agents read, if only a classifier finds it.

        Not for one that leads elsewhere, that a pattern supports, or that somebody hid.
        """
        match = self.match
        is_order = self.context.call.facts.are_for_agents and match.rule.model and match.cuts
        if not is_order or match.confidence < Confidence.HIGH:
            return False
        words = self.text[slice(*self._span)]
        leads_elsewhere = text_values.find_urls(words) or text_values.find_mailboxes(words)
        return not leads_elsewhere and not find_pattern_near(match, self.others)

    def is_foreign_data(self) -> bool:
        """True for what would be data or a file for agents, if anybody may have written it."""
        if not (self.match.took(DATA) or self.is_for_agents()) or not self.context.tool:
            return False
        return bool(self.tool.labels & Label.TAKES_IN) or self.context.call.facts.fetches

    def returns(self) -> bool:
        """True if a secret goes to a tool that stores secrets, or back to its server.

        A server already knows its own words. The secret still may not return if the called tool
        could pass it on, if there is an address next to it, or if it is encoded, which has a
        purpose. If the tool's function is unknown, it returns only in an argument made for a
        credential.
        """
        if not self.match.rule.is_private or not self.is_argument:
            return False
        labels, vault = self.tool.labels, self.knowledge.vault
        if labels & Label.HOLDS:
            return True
        logs_in = is_credential_name(str(self.match.path[-1]))
        passes_on = _PASSES_ON if logs_in else _PASSES_ON | Label.RUNS
        stays = (labels or logs_in) and not labels & passes_on
        if not stays or not self.match.exact or self.match.view != "text":
            return False
        secret = self.text[self.match.start : self.match.end]
        if not vault.knows(secret) or text_values.find_addresses(self.value):
            return False
        if not labels & Label.WRITES:
            return True
        # If it is from a file, only into the same folder, or into files for keys.
        sources = self.knowledge.flows.find_sources(secret)
        read = [each for each in sources if "/" in each or "\\" in each]
        return not read or all(
            is_key_file(file) or any(is_same_folder(file.lower(), each) for each in read)
            for file in written_files(self.value)
        )

    def _belongs_to_secret(self, secret: Match) -> bool:
        """True if the match is within a secret, or is the host in the same word."""
        match = self.match
        if match is secret or match.path != secret.path or not match.exact:
            return match is secret
        first, last = min(match.start, secret.start), max(match.end, secret.end)
        if match.rule.is_private:
            return last - first == secret.end - secret.start
        return match.rule.id.startswith("ssrf.") and len(self.text[first:last].split()) == 1

    def _is_host_of_secret(self) -> bool:
        """True for the host in a data source name that the server gave with a secret of its own.

        False in a web address: a placeholder there could open hosts only this machine can reach.
        """
        vault, match = self.knowledge.vault, self.match
        if not match.rule.id.startswith("ssrf.") or not match.exact:
            return False
        text = self.text
        first = max(text.rfind(" ", 0, match.start), text.rfind("\n", 0, match.start)) + 1
        restored = vault.restore(next(iter(text[first:].split(maxsplit=1)), ""))
        is_web = restored.text.lower().startswith("http")
        flows = self.knowledge.flows
        return restored.restored_count > 0 and not is_web and flows.has_returned(restored.text)


# The last steps of a rating (detect.scanning.rating): where a match goes, and where it came from.
IN_MESSAGE: Table[LocatedMatch] = (
    # A sent sample leaks nothing; a sample in an address shows where a real secret would go.
    (
        "a sample that no request has",
        DROP,
        lambda m: m.match.is_sample and m.way is not WayOut.REQUESTED,
    ),
    ("it stays on this machine", LIMIT, LocatedMatch.stays_in_tool),
    (
        "in an address, or in a request to another host",
        ENSURE,
        lambda m: m.match.rule.leaving in _COUNTS_LEAVING and m.way is WayOut.REQUESTED,
    ),
    (
        "it goes nowhere",
        DROP,
        lambda m: m.match.rule.leaving is Leaving.ONLY and m.way is WayOut.NOWHERE,
    ),
    ("it names a tool of its own server", LIMIT, LocatedMatch.names_own_tools),
    (
        "it goes back to its server",
        LIMIT,
        lambda m: any(map(m._belongs_to_secret, m.returning)) or m._is_host_of_secret(),
    ),
    ("a key in a file made for keys", LIMIT, LocatedMatch.is_key_in_its_file),
    ("typed into a field, which asks", LIMIT, LocatedMatch.is_typed),
    ("the hash of a password in a test or example", LIMIT, LocatedMatch.is_fixture_hash),
    ("only a classifier finds it, in a file for agents", LIMIT, LocatedMatch.is_for_agents),
    ("in data that anybody may have written", ENSURE, LocatedMatch.is_foreign_data),
    ("it works once, or opens what the server gave", LIMIT, LocatedMatch.works_once),
)


def pass_with_words(rated: Sequence[tuple[Match, Finding]]) -> list[Finding]:
    """The findings; a secret that an exception lets pass does so with the words after it.

    A reading without separators appends words to a key: `bill KEY and go` has a longer one.

    Args:
        rated: each match with its finding.
    """
    passing = [
        match
        for match, finding in rated
        if finding.note == EXEMPT and match.rule.is_private and match.exact
    ]
    return [
        finding._replace(action=Action.ALLOW, note=EXEMPT, would=None)
        if _JOINING.issuperset(match.view.split(">"))
        and any(  # the words after it were read as a part of it
            match.rule == other.rule
            and match.secret.startswith(other.secret)
            and match.secret != other.secret
            for other in passing
        )
        else finding
        for match, finding in rated
    ]


def restored_file(knowledge: Knowledge, context: Context, value: JsonValue) -> JsonValue:
    """A call that writes a file here, with its placeholders restored; any other as it is."""
    vault = knowledge.vault
    if context.tool is None or not isinstance(value, dict):
        return value
    tool = knowledge.tools.label(context.guard, context.tool)
    files = written_files(value)
    if not (tool.stores and tool.labels & Label.WRITES and files):
        return value
    if are_key_files(files) or not knowledge.tools.stay_here(context.guard):
        return value
    return with_strings(value, lambda text: vault.restore(text).text)


def are_key_files(files: Sequence[str]) -> bool:
    """True if there are files, and all of them are meant for keys."""
    return bool(files) and all(map(is_key_file, files))
