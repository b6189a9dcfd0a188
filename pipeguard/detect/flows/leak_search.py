"""Looks up a call in earlier results: who gets which part of it, and what that part repeats.

A tool is labelled by the abilities in its definition. Input for a tool that sends out, runs, keeps
or undoes something is looked up in the results of others, as it is and decoded.

It cannot detect paraphrase.
"""

from collections.abc import Iterator, Sequence
from operator import attrgetter

from pipeguard.detect.flows import overlap, secret_egress, secret_values
from pipeguard.detect.flows.leak import ORDERED, PRIVATE_OUT, SECRET_OUT, UNTRUSTED_ACTS, Leak
from pipeguard.detect.flows.ledger import Flows
from pipeguard.detect.flows.outgoing_call import (
    ORDERED_NAMES,
    ORDERED_ROWS,
    TOKENS,
    TYPES,
    Call,
)
from pipeguard.detect.flows.overlap import (
    SearchBudget,
    find_held,
    list_new_probes,
    list_probes,
)
from pipeguard.detect.flows.text_values import (
    NamedStrings,
    find_addresses,
    find_digests,
    find_mailboxes,
    find_recipients,
    find_targets,
    is_outside,
    join_sent,
    list_long_words,
    list_named_strings,
    list_short_values,
    names_obeyed_file,
    without_credentials,
)
from pipeguard.detect.flows.tool_labels import ACTS, CHANGES, Label, Tool, ToolAct
from pipeguard.detect.flows.tool_results import ToolResult, join_request
from pipeguard.detect.words import tools as lists
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.protocol import message, strict_json
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.records import NamedTuple
from pipeguard.unicode.name_words import name_words

ARGUMENT_BYTES = 2**16  # of one call's arguments that are looked up in the memory
_OUTWARD = Label.SENDS | Label.OUTSIDE


class _Part(NamedTuple):
    """A part of a call, and who gets it.

    Attributes:
        tool: with the labels that hold for this part.
        value: the arguments, or a text in them.
        text: its strings.
        strings: of the whole call, from `named_strings`.
        opened: the web addresses that the call only requests.
    """

    tool: Tool
    value: JsonValue
    text: bytes
    strings: NamedStrings
    opened: frozenset[str]


def is_concerned(flows: Flows, tool: Tool, outline: message.PlainOutline) -> bool:
    """True if remembered data may matter to a call, or something of it is kept; usually False.

    Args:
        flows: of the client.
        tool: the called tool.
        outline: of the call.
    """
    is_outward = outline.may_hold_address or tool.labels.meets(_OUTWARD)
    may_concern = flows.may_concern(tool, is_outward=is_outward)
    if may_concern is not None:
        return may_concern
    return bool(find_leaks(flows, tool, strict_json.parse_json(outline.arguments or b"null")))


def find_leaks(
    flows: Flows, tool: Tool, arguments: JsonValue, now: float = 0.0, event: str = ""
) -> list[Leak]:
    """Look up a tool's input in earlier results.

    Args:
        flows: of the client.
        tool: the called tool.
        arguments: of the call.
        now: seconds on the session's clock.
        event: identifies the call until `Flows.settle`; if empty, it counts as sent at once.
    """
    strings = list_named_strings(arguments)
    bare = arguments
    leaks = []
    opened = frozenset[str]()
    if flows.has_sources(tool):
        opened = secret_egress.find_opened(tool.labels, strings)
        if tool.is_sink or tool.labels.meets(Label.OUTSIDE):
            bare = without_credentials(arguments)
        if tool.is_sink:
            part = _label_arguments(tool, bare, strings, opened)
            leaks = _look_up(flows, part, now, event)
    requested = _list_requested(flows, tool, arguments, strings)
    if requested:
        # A client that renders the tool's input requests the addresses in it.
        client = tool._replace(labels=_OUTWARD)
        text = " ".join(requested)
        part = _Part(client, text, text.encode()[:ARGUMENT_BYTES], strings, opened)
        leaks += _look_up(flows, part, now, event)
    if not leaks and bare != arguments and tool.labels.meets(Label.OUTSIDE):
        # A credential may go into its own argument, but an address can be anybody's.
        part = _label_arguments(tool, arguments, strings, opened)
        used = _look_up(flows, part, now, event)
        leaks = [leak._replace(confidence=Confidence.MEDIUM) for leak in used]
    if tool.acts:
        leaks += _find_order(flows, tool, arguments)
    return leaks


def _label_arguments(
    tool: Tool,
    arguments: JsonValue,
    strings: NamedStrings,
    opened: frozenset[str],
) -> _Part | None:
    """Arguments with the labels of a call that has them; None if it writes a harmless file."""
    text = join_sent(arguments)[:ARGUMENT_BYTES]
    labels = tool.labels
    if labels & Label.WRITES:
        if not names_obeyed_file(text):
            return None
        labels |= Label.KEEPS
    if not labels & Label.OUTSIDE and any(map(is_outside, list_short_values(arguments))):
        labels |= Label.OUTSIDE
    return _Part(tool._replace(labels=labels), arguments, text, strings, opened)


def _list_requested(
    flows: Flows, tool: Tool, arguments: JsonValue, strings: NamedStrings
) -> list[str]:
    """The addresses that a tool which does not send may have somebody request, and what they get.

    Addresses that were read, unchanged, in files of the same server are left out.
    """
    if tool.labels.meets(Label.SENDS):
        return []
    addresses = find_addresses(arguments)
    if addresses and tool.stores:
        addresses = [*dict.fromkeys(addresses)]
        files = [r for r in flows.find_likely(addresses) if r.tool.is_file_reader(tool.server)]
        held = find_held(addresses, [r.text() for r in files], SearchBudget())
        were_read = {at for numbers in held.values() for at in numbers}
        addresses = [address for at, address in enumerate(addresses) if at not in were_read]
    if addresses and tool.labels.meets(Label.RUNS):
        for _, text in strings:
            addresses += secret_egress.POSTED.findall(text)
    return addresses


def _look_up(flows: Flows, part: _Part | None, now: float, event: str) -> list[Leak]:
    """Find the leaks through a part of a call."""
    if part is None:
        return []
    leaks = flows.find_forgotten(part.tool, part.text, now)
    repeated = _find_repeated(flows, part)
    results = {*repeated, *flows.list_sources(part.tool)}
    if not results:
        return leaks
    about = find_targets(part.value)
    call = Call(part.tool, part.text, flows.read_words, about, part.opened)
    call.recipients = find_recipients(part.value)
    call.value = part.value
    call.find_likely = flows.find_likely
    call.follow(*flows.record_sent(event, part.tool, call.text))
    leaks += rate_results(call, sorted(results, key=attrgetter("number")), repeated)
    flows.bound_derived()
    return leaks


def _find_repeated(flows: Flows, part: _Part) -> list[ToolResult]:
    """The results of others, from outside, that a call which acts may repeat."""
    if not part.tool.labels.meets(ACTS | Label.GUARDS):
        return flows.find_likely([])  # none, but new results are read
    sent = part.text.decode("utf-8", "ignore")
    letters = overlap.letters(sent)
    hashes = find_digests(sent)
    results = flows.find_likely([*list_probes(letters), *hashes])
    if results:  # the longest string is often sent again
        said = "".join([words.letters for words in flows.read_words()])
        longest = overlap.letters(max((each for _, each in part.strings), key=len, default=""))
        parts = [*list_new_probes(letters, longest, said), *hashes]
        likely = {*flows.find_likely(parts)}
        results = [result for result in results if result in likely]
    return [each for each in results if each.takes_in and each.key != part.tool.key]


def _find_order(flows: Flows, tool: Tool, arguments: JsonValue) -> list[Leak]:
    """Find the order that a call carries out, or a further part of one carried out earlier."""
    if not flows.has_results:
        return []
    from pipeguard.detect.flows.orders import ActingCall, ClientWords  # for calls that act

    call = ActingCall(tool.acts, arguments, flows.read_words)
    results = flows.find_likely([each.text for each in call.values], has_words=True)
    carried = flows.list_orders()
    if not results and not carried:
        return []
    order = call.find_order(results)
    if order is not None and order.order.is_certain:
        # Once a person allowed it, the same tool may have the same value again.
        said = ClientWords.read(0, " ".join(map(join_request, flows.passed_calls(tool) or ())))
        call.values = [each for each in call.values if not each.occurs(said.small, said.letters)]
        order = call.find_order(results)
    if order is not None:
        flows.record_order(order)
    else:
        order = call.find_part(carried)
    flows.bound_derived()
    return [] if order is None else [order.leak()]


# Acts for which a page needs the client's word: not to write files and to visit addresses.
BEYOND_PAGES = ~(ToolAct.WRITE | ToolAct.VISIT)


def find_posted(flows: Flows, tool: Tool, arguments: JsonValue) -> list[Leak]:
    """Report a call that a page of its server posted, if the client had not named its values.

    Of a mere change, PipeGuard cannot tell whether it is of the server's own data.
    """
    from pipeguard.detect.flows.orders import ActingCall  # for calls that act

    call = ActingCall(tool.acts, arguments, flows.read_words)
    new = [value.is_strong for value in call.values if not call.is_named(value)]
    is_sure = any(new) and tool.acts & BEYOND_PAGES is not ToolAct.CHANGE
    confidence = Confidence.HIGH if is_sure else Confidence.MEDIUM
    note = (
        "a page of the server posted this call, and the client had not named its values. Ask the"
        " user whether to do it"
    )
    return [Leak(ORDERED, Severity.HIGH, confidence, tool.name, note)] if new else []


# --- rating ---------------------------------------------------------------------------------

# How much of a result may leave before it is a leak, in shared letters and digits.
COVERED_CHARS = 44  # of private text that goes to anybody
QUOTED_CHARS = 72  # and to a named recipient: answers quote the text they answer
MARKED_CHARS = 32  # of a text that says that it is not for everybody
HIDDEN_CHARS = 24  # of text that was encoded
ACTED_CHARS = 32  # of text that anybody may have written, and that is run
PASSAGE_CHARS = 24  # in a row, or else
PASSAGES_SHARE = 0.25  # of all that is sent
ORDERED_CHARS = 16  # of words that a text tells a model to use
MANY_TOKENS = 3  # a list of people, not only the recipient
MANY_RECORDS = 2  # of people, to somebody else
MANY_NAMES = 4  # of people
MANY_CONTACTS = 5  # of people, in a letter to somebody else


def rate_results(
    call: Call, results: Sequence[ToolResult], repeated: Sequence[ToolResult]
) -> Iterator[Leak]:
    """Find the leaks through a call.

    Args:
        call: the call.
        results: that it may take something from, the oldest first.
        repeated: those of them from outside that it may repeat.
    """
    labels = call.tool.labels
    addressed = {result for result in results if result.addressed_part()}  # written for a model
    obeyed = set()
    if not labels or labels & (CHANGES | Label.SENDS):
        obeyed = addressed
    private = set()
    if labels & Label.SENDS:
        sources = [result for result in results if result.is_private()]
        if sources:
            private = call.find_taken(sources)
    if obeyed:
        call.look_up_orders([*obeyed])
    for result in reversed(results):
        if result in private:
            yield from _find_private(call, result, has_orders=bool(addressed))
        if result in obeyed:
            yield from _find_obeyed(call, result)
        elif result in repeated and call.shares(result, mentions=False).chars >= ACTED_CHARS:
            name = result.source
            note = f"text from {name!r}, which anybody may have written, is run or kept"
            confidence = Confidence.HIGH if labels & Label.GUARDS else Confidence.MEDIUM
            yield Leak(UNTRUSTED_ACTS, Severity.HIGH, confidence, name, note, result)


def _find_private(call: Call, result: ToolResult, *, has_orders: bool) -> Iterator[Leak]:
    """Find private results that leave.

    Args:
        call: the call.
        result: the result.
        has_orders: True if some result tells a model what to do.
    """
    name = result.source
    call = call.without(filter(result.has_address, call.opened))
    confidence = _rate_secret(call, result)
    if confidence is not None:
        note = f"a value that came back from {name!r} leaves through this call"
        are_known = call.recipients and not has_orders and _stays_inside(call, result)
        severity = Severity.HIGH if are_known else rate_severity(call.tool)
        yield Leak(SECRET_OUT, severity, confidence, name, note, result)
    elif result.labels() & (Label.READS_PRIVATE | Label.READS_SECRET):
        rated = _rate_text(call, result, has_orders=has_orders), _rate_people(call, result)
        found = [confidence for confidence in rated if confidence is not None]
        if found:
            note = f"text that came back from {name!r} leaves through this call"
            yield Leak(PRIVATE_OUT, Severity.HIGH, max(found), name, note, result)


def _rate_text(call: Call, result: ToolResult, *, has_orders: bool) -> Confidence | None:
    """Rate how surely private text leaves; None if too little of it does."""
    source = result.labels()
    is_outside = bool(call.tool.labels & Label.OUTSIDE)
    hidden = covered = call.hides(result)
    clear = call.shares(result)
    is_most = clear.chars >= PASSAGES_SHARE * len(call.letters[0])
    if is_most or clear.longest >= PASSAGE_CHARS:
        covered += clear.chars
    if (is_most or hidden) and call.count_continued(result) >= HIDDEN_CHARS:
        covered += QUOTED_CHARS
    tokens = call.find_new(TOKENS, result)
    shared = [token for token in tokens if token not in call.recipients]
    if len(shared) >= MANY_TOKENS:
        covered += sum(map(len, shared))
        hidden += sum(len(token) for token in shared if token not in call.text)
    is_meant = is_outside and bool(source & Label.READS_PERSONAL)
    named = call.count_taken(result).named
    is_list = is_meant and (len(shared) >= MANY_TOKENS or named >= MANY_NAMES)
    enough = COVERED_CHARS if is_outside or has_orders else QUOTED_CHARS
    if call.goes_back(result) and not has_orders:
        covered = hidden  # a person named there already knows it
        is_list = False
    elif result.is_marked():
        enough = MARKED_CHARS
        is_meant = True
    elif not is_outside and not source & Label.READS_PERSONAL and not has_orders:
        covered = hidden  # a file quoted in its own place
    if covered < enough and hidden < HIDDEN_CHARS and not is_list:
        return None
    is_meant |= hidden >= HIDDEN_CHARS or has_orders
    return Confidence.HIGH if is_meant else Confidence.MEDIUM


def _rate_people(call: Call, result: ToolResult) -> Confidence | None:
    """Rate how surely facts about people leave, for a recipient who is not one of them."""
    taken = call.count_taken(result)
    if not (taken.records or taken.contacts) or _stays_inside(call, result):
        return None
    are_sure = result.has_records() or result.tool.labels & Label.READS_PERSONAL
    enough = MANY_RECORDS if are_sure else MANY_NAMES
    is_list = taken.records >= enough or taken.contacts >= MANY_CONTACTS
    if is_list or (taken.records and call.tool.labels & Label.OUTSIDE and result.has_records()):
        return Confidence.HIGH
    return Confidence.MEDIUM if taken.records else None


def _stays_inside(call: Call, result: ToolResult) -> bool:
    """True if a table goes to people in it, to their own organisation, or stays in its system."""
    if call.goes_back(result):
        return True
    if not call.recipients:
        shared = {*name_words(call.tool.name)}.intersection(name_words(result.tool.name))
        is_listed = call.count_taken(result).contacts >= MANY_CONTACTS
        is_same = not (call.tool.labels & Label.OUTSIDE or shared.isdisjoint(lists.HOSTED))
        return is_same and not is_listed
    text = result.text()
    hosts = {each.rpartition("@")[2] for each in find_mailboxes(text)}
    is_own = {each.rpartition("@")[2] for each in call.recipients} == hosts and len(hosts) == 1
    return is_own or all(each in text for each in call.recipients)


def _rate_secret(call: Call, result: ToolResult) -> Confidence | None:
    """Rate how surely a secret of a result leaves; None if none does."""
    text = result.text()
    is_secret = result.looks_secret()
    looks_secret = any(each in text and is_secret(each) for each in call.find_new(TOKENS, result))
    if result in call.secretive:
        if any(map(call.takes, result.one_time_secrets())):
            looks_secret = True
            if rate_severity(call.tool) is Severity.CRITICAL:
                return Confidence.HIGH
        completed = {*filter(call.completes_new, result.secrets())}
        looks_secret |= bool(completed)
        if any(map(call.is_new, call.find_named(result))):
            return Confidence.HIGH
        if any(bare in completed for bare in secret_values.key_by_letters(result.named_secrets())):
            return Confidence.HIGH
    if not looks_secret:
        return None
    return Confidence.HIGH if result.labels() & Label.READS_SECRET else Confidence.MEDIUM


def rate_severity(tool: Tool) -> Severity:
    """Rate a secret that goes to a tool: less if it only types, perhaps where its user logs in."""
    is_typed = not TYPES.isdisjoint(name_words(tool.name)) and not tool.labels & Label.OUTSIDE
    return Severity.HIGH if is_typed else Severity.CRITICAL


def _find_obeyed(call: Call, result: ToolResult) -> Iterator[Leak]:
    """Find a call that follows a result's instructions to a model."""
    order = result.addressed_part()
    named = call.find_held(ORDERED_NAMES, result)
    obeys = any(call.is_new(name) for letters in named for name in call.names[letters])
    if not obeys:
        obeys = sum(map(len, call.find_new(ORDERED_ROWS, result))) >= ORDERED_CHARS
    if call.tool.labels & Label.GUARDS and not obeys:
        obeys = any(word in order for word in list_long_words(call.text))
    if obeys:
        note = f"{result.source!r} gave a text that tells a model to do this"
        from pipeguard.detect.flows.order_sentences import is_forwarded  # for orders obeyed

        sends = call.tool.labels.meets(Label.SENDS)
        is_shown = sends and is_forwarded(order, call.text, call.recipients)
        confidence = Confidence.MEDIUM if is_shown else Confidence.HIGH
        yield Leak(UNTRUSTED_ACTS, Severity.HIGH, confidence, result.source, note, result)
