"""Each word says of a tool what its table is for."""

from collections.abc import Mapping

from pipeguard.detect.flows.tool_labels import Label, find_labels, make_tool
from pipeguard.detect.words import tools
from pipeguard.firewall.protocol.json_values import JsonObject
from tests.detect.words.proof import Proof, tables, unproved
from tests.each import each


def reads(name: str, description: str = "") -> bool:
    """Whether a tool reads what is private."""
    return bool(find_labels(name, {"description": description}) & Label.READS_PRIVATE)


def personal(name: str, description: str = "") -> bool:
    """Whether a tool reads what its owner would show to nobody."""
    return bool(find_labels(name, {"description": description}) & Label.READS_PERSONAL)


def does(label: Label, name: str, *parameters: str, description: str = "") -> bool:
    """Whether a tool with these parameters does something."""
    properties: JsonObject = {parameter: {} for parameter in parameters}
    schema: JsonObject = {"description": description, "inputSchema": {"properties": properties}}
    return bool(find_labels(name, schema) & label)


def reaches_out(description: str) -> bool:
    """Whether a tool that writes files says that they do not stay on this machine."""
    return make_tool("write", {"description": description}).reaches_out


PROOFS: Mapping[str, Proof] = {
    "READ": lambda word: personal(f"run_{word}_payroll"),
    "FILES": lambda word: reads(f"read_{word}"),
    "PERSONAL": lambda word: personal(f"read_{word}"),
    "ADDRESS_BOOK": lambda word: any(
        personal(f"read_{word}_{other}") and not personal(f"read_{word}")
        for other in tools.ADDRESS_BOOK
    ),
    "RESTRICTED": lambda word: personal("read_plans", f"Reads plans. They are {word}"),
    "PUBLISHED": lambda word: not reads(f"read_{word}_message"),
    "TRACES": lambda word: personal("read", f"Reads my browser {word}"),
    "SECRET_STORES": lambda word: does(Label.HOLDS, f"set_{word}"),
    "SECRETS": lambda word: does(Label.READS_SECRET, f"read_{word}"),
    "WEB": lambda word: does(Label.TAKES_IN, word),
    "NETWORK": lambda word: does(Label.TAKES_IN, word),
    "OTHERS": lambda word: does(Label.TAKES_IN, f"read_{word}"),
    "SEND": lambda word: does(Label.SENDS, f"{word}_it"),
    "SENT": lambda word: does(Label.SENDS, word),
    "SENT_OR_IN_A_FILE": lambda word: (
        does(Label.SENDS, word) and not does(Label.SENDS, word, "path", "content")
    ),
    "POSTED": lambda word: does(Label.SENDS, f"create_{word}"),
    "MAKE": lambda word: does(Label.SENDS, f"{word}_discussion"),
    "ARRANGE": lambda word: not does(Label.SENDS, f"{word}_email"),
    "RESOLVERS": lambda word: does(Label.OUTSIDE, word),
    "PUBLIC": lambda word: does(Label.OUTSIDE, f"send_{word}"),
    "PUBLISH": lambda word: does(Label.SENDS, "tool", description=f"It works. Then {word} it"),
    "HOSTED": lambda word: reaches_out(f"Write a file. It is {word.capitalize()}"),
    "CARRIES": lambda word: reaches_out(f"{word} the files"),
    "REPORT": lambda word: does(Label.SENDS, f"{word}_hosted"),
    "REMOTE": lambda word: does(Label.SENDS, f"write_{word}"),
    "RUN": lambda word: does(Label.RUNS, word),
    "KEEP": lambda word: does(Label.KEEPS, word),
    "WRITE": lambda word: does(Label.KEEPS, f"get_{word}_job"),
    "UNDO": lambda word: does(Label.UNDOES, word),
    "CHANGE": lambda word: does(Label.GUARDS, f"{word}_policy"),
    "GUARDED": lambda word: does(Label.GUARDS, f"set_{word}"),
    "RECIPIENT": lambda word: does(Label.SENDS, "tool", word, "body"),
    "BODY": lambda word: does(Label.SENDS, "tool", "recipient", word),
    "GIVEN": lambda word: does(Label.SENDS, "email", word),
    "CODE": lambda word: does(Label.RUNS, "tool", word),
    "REQUESTED": lambda word: does(Label.SENDS, "fetch", word),
    "PATHS": lambda word: does(Label.WRITES, "write", word),
    "ADDRESS": lambda word: does(Label.OUTSIDE, "send", word),
}


@each("table", list(PROOFS))
def test_each_word_of_a_table_is_proved(table: str) -> None:
    assert unproved(getattr(tools, table), PROOFS[table]) == []


def test_every_table_has_a_proof() -> None:
    assert tables(tools) == PROOFS.keys()
