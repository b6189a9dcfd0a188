"""All ledgers together stay within their memory, and the least recently used give way."""

import gc
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeguard.detect.flows import ledger_memory
from pipeguard.detect.flows.leak import PRIVATE_OUT
from pipeguard.detect.flows.leak_search import find_leaks
from pipeguard.detect.flows.ledger import DERIVED_BYTES, REQUEST_BYTES, RESULT_BYTES, Flows
from pipeguard.detect.flows.tool_labels import make_tool
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, serialise
from pipeguard.firewall.protocol.strict_json import ParsedFrame
from pipeguard.firewall.session.memory import Note

MAIL, POST = make_tool("read_mail", None), make_tool("http_post", None)
LIMIT = 200_000
TEXT = "The northern plant takes over the orders of the one in the valley, and a third of it. "


def mail(number: int, times: int = 100) -> bytes:
    content: list[JsonValue] = [{"type": "text", "text": f"{number} " + TEXT * times}]
    return serialise({"result": {"content": content}})


def test_the_least_recently_used_gives_way_and_others_stay() -> None:
    memory = ledger_memory.LedgerMemory(LIMIT)
    first, second = Flows(memory), Flows(memory)
    first.record_result(MAIL, mail(0), 0.0)
    for number in range(4):
        second.record_result(MAIL, mail(number), 0.0)
    first.record_result(MAIL, mail(1), 0.0)  # so that the second is the one that gives way
    third = second.part()
    for number in range(16):
        third.record_result(MAIL, mail(number), 0.0)
        assert memory.total_bytes <= LIMIT
    assert second.size() == 0
    assert first.size() > 0
    sent: JsonObject = {"body": "another text altogether"}
    assert [leak.rule for leak in find_leaks(second, POST, sent)] == [PRIVATE_OUT]
    assert find_leaks(first, POST, sent) == []


def test_nobody_gives_way_to_another_ones_many_clients() -> None:
    memory = ledger_memory.LedgerMemory(LIMIT)
    idle = Flows(memory, "idle")
    idle.record_result(MAIL, mail(0), 0.0)
    many = [Flows(memory, "busy") for _ in range(40)]
    for flows in many:
        flows.record_result(MAIL, mail(0), 0.0)
        assert memory.total_bytes <= LIMIT
    assert idle.size() > 0
    sizes = [flows.size() > 0 for flows in many]
    assert sizes == sorted(sizes), "the least recently used of them gave way"
    assert 0 < sum(sizes) < len(many)
    late = Flows(memory, "late")
    for number in range(60):
        late.record_result(MAIL, mail(number), 0.0)
    assert idle.size() > 0


def test_what_can_be_worked_out_again_goes_before_anything_is_lost() -> None:
    memory = ledger_memory.LedgerMemory(LIMIT)
    first, second = Flows(memory), Flows(memory)
    for number in range(4):
        first.record_result(MAIL, mail(number), 0.0)
    small = first.size()
    assert find_leaks(first, POST, {"body": f"{TEXT} ticket-2041-2042"})  # small letters, too
    assert first.size() > 2 * small
    while memory.total_bytes + len(mail(0)) < LIMIT:
        second.record_result(MAIL, mail(0), 0.0)
    second.record_result(MAIL, mail(0), 0.0)
    assert small <= first.size() < 2 * small
    assert {leak.note for leak in find_leaks(first, POST, {"body": TEXT})} == {
        "text that came back from 'read_mail of ' leaves through this call"
    }
    next(iter(first._results)).derived = DERIVED_BYTES + 1
    first.bound_derived()
    assert all(each.derived for each in first._results), "indexes stay, and count"


def test_one_that_alone_is_too_much_gives_way_itself() -> None:
    memory = ledger_memory.LedgerMemory(10_000)
    flows = Flows(memory)
    flows.record_result(MAIL, mail(0, 1_000), 0.0)
    assert flows.size() == memory.total_bytes == 0
    assert [leak.rule for leak in find_leaks(flows, POST, {"body": TEXT})] == [PRIVATE_OUT]


def test_a_client_that_is_gone_takes_nothing_and_nobody_gives_way_for_it() -> None:
    memory = ledger_memory.LedgerMemory(LIMIT)
    stays, goes = Flows(memory), Flows(memory)
    for flows in (stays, goes):
        flows.record_result(MAIL, mail(0), 0.0)
    before = memory.total_bytes
    del goes, flows
    gc.collect()
    assert memory.total_bytes == stays.size() == before // 2


def test_room_is_made_for_many_results_at_once() -> None:
    memory = ledger_memory.LedgerMemory(LIMIT)
    ledgers = [Flows(memory) for _ in range(40)]
    for flows in ledgers:
        flows.record_result(MAIL, mail(0), 0.0)
    room = LIMIT * ledger_memory.SHARE_LEFT
    assert room - 2 * ledgers[-1].size() < memory.total_bytes <= LIMIT


def test_the_sum_is_right_though_threads_record_and_look_up_at_once() -> None:
    memory = ledger_memory.LedgerMemory(LIMIT)
    ledgers = [Flows(memory) for _ in range(4)]

    def use(number: int) -> None:
        for turn in range(60):
            flows = ledgers[(number + turn) % len(ledgers)]
            flows.record_result(MAIL, mail(turn, 20), float(turn))
            flows.record_request(mail(turn, 2))
            find_leaks(flows, POST, {"body": TEXT}, float(turn))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    for flows in ledgers:
        memory.note(flows)
    assert memory.total_bytes == sum(flows.size() for flows in ledgers) <= LIMIT


def test_calls_to_compare_with_are_bounded() -> None:
    flows = Flows()
    frame = mail(1)
    for number in range(200):
        for turn in range(6):
            flows.record_passed(make_tool(f"send_{number % 150}", None), mail(turn))
    assert flows.size() <= REQUEST_BYTES
    assert flows.passed_calls(make_tool("send_49", None)) == [mail(turn) for turn in range(2, 6)]
    assert flows.passed_calls(make_tool("send_50", None)) is None, "it may have given way"
    flows.record_passed(POST, b"x" * (ledger_memory.CALL_BYTES + 1))
    assert flows.passed_calls(POST) == [b""], "it is known that there was one"
    reads = make_tool("read_file", {"description": "Reads a file."})
    before = flows.size()
    flows.record_passed(reads, frame)
    assert flows.size() == before, "it is of no consequence"
    flows.give_way()
    assert (flows.size(), flows.passed_calls(POST)) == (0, None)
    assert Flows().passed_calls(POST) == []


def test_a_key_is_followed_over_many_pieces_and_not_for_ever() -> None:
    calls, begun = ledger_memory.RememberedCalls(LIMIT), "sk-" + "learn"
    assert calls.join_key("", begun, [begun]) == []
    for _ in range(ledger_memory.MOST_PIECES):
        assert calls.join_key("", "", ["-words"])[0] == (begun, f"{begun}-words")
        begun += "-words"
    for _ in range(ledger_memory.RECENT_CALLS):
        assert calls.join_key("", "", ["-words"])
    assert calls.join_key("", "", ["-words"]) == []


def test_a_call_that_is_judged_takes_no_place_of_those_that_went_on() -> None:
    calls = ledger_memory.RememberedCalls(LIMIT)
    for number in range(ledger_memory.RECENT_CALLS):
        calls.add_sent("", f"text{number}")
    before, _ = calls.add_sent("", "")
    calls.add_sent("RUN.c1", "stopped")
    assert calls.add_sent("RUN.c1", "") == (before, before), "a call is none of its pieces"
    assert calls.add_sent("RUN.c2", "")[0] == [*before[1:], "stopped"], "of two, one is second"
    calls.settle("RUN.c1", went_on=False)
    assert calls.add_sent("", "") == (before, [*before, "stopped"])
    calls.add_sent("RUN.c2", "passed")
    calls.settle("RUN.c2", went_on=True)
    assert calls.add_sent("", "")[0] == [*before[1:], "passed"]


def test_what_is_remembered_of_a_frame_is_without_its_value() -> None:
    class Word(str):
        """A string whose life can be observed."""

    flows, word = Flows(), Word("a")
    gone = weakref.ref(word)
    frame = ParsedFrame.of_line(serialise({"result": {"a": "a"}}), {"result": {"a": word}})
    flows.record_result(MAIL, frame, 0.0)
    flows.record_request(frame)
    flows.record_passed(POST, frame)
    del frame, word
    assert gone() is None


def test_what_other_ledgers_returned_displaces_no_result_that_fits_alone() -> None:
    class Memory:
        is_remote = False

        def put(self, notes: Sequence[Note]) -> None:
            """Take them."""

        def read_new(self) -> list[Note]:
            return []

    def read(flows: Flows, server: str, count: int) -> None:
        for number in range(count):
            page = mail(number, RESULT_BYTES // 8 // len(TEXT))
            flows.record_result(MAIL._replace(server=server), page, float(number))

    flows, other = Flows(client=Memory()), Flows(client=Memory())
    read(flows, "own", 6)
    read(other, "other", 6)
    for note in other.take_notes():
        flows.learn(note, 9.0)
    found = [result.tool.server for result in flows.find_likely(["northern"])]
    assert found == ["own"] * 6 + ["other"] * 6
