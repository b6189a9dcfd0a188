"""If there are too many results, the oldest of the largest contributor are forgotten."""

from pipeguard.detect.flows.ledger import MOST_RESULTS, RESULT_BYTES, Flows
from pipeguard.detect.flows.ledger_memory import RememberedResults
from pipeguard.detect.flows.tool_labels import Label, Tool
from pipeguard.detect.flows.tool_results import ToolResult
from pipeguard.firewall.protocol.json_values import JsonValue, serialise

NOTES, WEB = (Tool("read", Label.READS_PRIVATE, server) for server in ("notes", "web"))
TEXT = "The northern plant takes over the orders of the one in the valley, and a third of it. "


def result(tool: Tool, since: float, size: int = 10) -> ToolResult:
    return ToolResult(tool, b"x" * size, since, frozenset())


def answer(text: str) -> bytes:
    content: list[JsonValue] = [{"type": "text", "text": text}]
    return serialise({"result": {"content": content}})


def left(results: RememberedResults) -> list[tuple[str, float]]:
    return [(each.tool.server, each.since) for each in results]


def test_the_oldest_of_who_gave_the_most_go() -> None:
    results = RememberedResults(4, 10**6, 100.0)
    for since, tool in enumerate((NOTES, WEB, WEB, NOTES, WEB, WEB)):
        results.add(result(tool, float(since)), float(since))
    assert left(results) == [("notes", 0.0), ("notes", 3.0), ("web", 4.0), ("web", 5.0)]


def test_bytes_are_counted_by_who_gave_them_and_given_back() -> None:
    one = result(NOTES, 0.0).size
    results = RememberedResults(100, 4 * one + 1_000, 100.0)
    for since in range(3):
        results.add(result(NOTES, float(since)), float(since))
    results.add(result(WEB, 3.0, 2_000), 3.0)
    assert left(results) == [("notes", 0.0), ("notes", 1.0), ("notes", 2.0)]
    assert results.bytes == 3 * one
    results.clear()
    assert (list(results), results.bytes) == ([], 0)


def test_what_matters_no_more_goes_whoever_gave_it() -> None:
    results = RememberedResults(100, 10**6, 100.0)
    for since, tool in ((0.0, NOTES), (50.0, WEB), (101.0, WEB)):
        results.add(result(tool, since), since)
    assert left(results) == [("web", 50.0), ("web", 101.0)]


def test_no_server_has_what_another_one_gave_forgotten() -> None:
    for text, times in (("x" * (RESULT_BYTES // 3), 9), ("x", 2 * MOST_RESULTS)):
        flows = Flows()
        flows.record_result(NOTES, answer(TEXT), 0.0)
        for _ in range(times):
            flows.record_result(WEB, answer(text), 1.0)
        assert flows.size() <= RESULT_BYTES
        assert flows.has_returned(TEXT)
