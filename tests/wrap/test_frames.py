"""Frames through a running wrap: whole, in order, as they came, and bounded in memory."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.processes import until
from tests.wrap.server import KEY
from tests.wrap.wrapped import UNSCANNABLE, Json, Object, Wrapped, error_code, line, result, stdin

pytestmark = pytest.mark.usefixtures("started")

MIB = 2**20
BURST = 64
FLOOD_BYTES = 16 * 1024  # of one notification's text
FLOODED = 1000  # notifications, so 16 MB
GROWTH_KIB = 12 * 1024  # below what is sent, above what the pipes and one read hold


@pytest.fixture
def wrapped(tmp_path: Path) -> Wrapped:
    wrapped = Wrapped(tmp_path)
    wrapped.initialize()
    until(wrapped.is_idle, "what the first list needs is read")
    return wrapped


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wrapped]:
    """A run for tests that leave nothing behind."""
    with Wrapped(tmp_path_factory.mktemp("shared")).opened() as wrapped:
        yield wrapped


def ping(id_: int, **more: object) -> Object:
    return {"jsonrpc": "2.0", "id": id_, "method": "ping", **more}  # type: ignore[dict-item]


def test_sixty_four_requests_at_once_are_answered_in_order(shared: Wrapped) -> None:
    ids = [shared.request("do/echo", text=f"number {number}") for number in range(BURST)]
    answers = [shared.frame() for _ in ids]
    assert [answer["id"] for answer in answers] == ids
    assert [result(answer)["text"] for answer in answers] == [
        f"number {number}" for number in range(BURST)
    ]


def test_large_frames_cross_each_other(shared: Wrapped) -> None:
    # Both threads scan at once: neither may use what the other one is using.
    text = "The quick brown fox jumps over the lazy dog. " * 6000
    ids = [shared.request("do/large", number=MIB)]
    writer = threading.Thread(
        target=lambda: ids.extend(shared.request("do/echo", text=text) for _ in range(12)),
        daemon=True,
    )
    writer.start()
    answers = [shared.frame() for _ in range(13)]
    writer.join()
    assert [answer["id"] for answer in answers] == ids
    assert all("result" in answer for answer in answers), str(answers)[:1000]


def test_a_frame_leaves_for_the_client_as_the_very_bytes_that_came(shared: Wrapped) -> None:
    odd = (
        '{ "result" : {"n": 1.0, "e": 1E5, "big": 12345678901234567890123, "s": "\\u0041/\\/",'
        ' "ls": "\\u2028", "é": "ü — 中"} , "id":100, "jsonrpc":"2.0" }'
    )
    params: Json = {"text": (odd + "\n").encode().decode("latin-1")}
    shared.send({"jsonrpc": "2.0", "id": 100, "method": "do/raw", "params": params})
    assert shared.line() == odd.encode()


def test_a_frame_leaves_for_the_server_as_the_very_bytes_that_came(tmp_path: Path) -> None:
    got = tmp_path / "got"
    frame = '{ "id" :100, "method":"x/y" ,"jsonrpc":"2.0", "params":{"é\\u00e9":[1.50,1E5]} }\r\n'
    with Wrapped(tmp_path, command=["sh", "-c", 'cat > "$0"', str(got)]) as wrapped:
        wrapped.send(frame.encode())
        wrapped.end()
        assert got.read_bytes() == frame.encode()


def test_only_line_feeds_end_a_frame_however_its_bytes_arrive(shared: Wrapped) -> None:
    for byte in line(ping(50)):
        stdin(shared).write(bytes([byte]))
    assert "result" in shared.answer(50)
    shared.send(b"".join(line(ping(number)) for number in range(100, 200)))
    assert [shared.frame()["id"] for _ in range(100)] == list(range(100, 200))
    shared.send(b'{"jsonrpc":"2.0","id":60,"method":"ping"}\r\n\r\n  \n')
    assert "result" in shared.answer(60)
    id_ = shared.request("do/nothing")
    answer = f'{{"jsonrpc":"2.0","id":{id_},"result":{{"a":1}}}}\r'
    shared.request("do/raw", text=f" \r\n{answer}\n")
    assert shared.line() == answer.encode()
    assert "result" in shared.frame()
    text = "a\u2028b\u2029c\u0085d\re"
    message: Object = {"jsonrpc": "2.0", "id": 61, "method": "do/echo", "params": {"text": text}}
    shared.send(json.dumps(message, ensure_ascii=False).encode() + b"\n")
    assert result(shared.answer(61))["text"] == text


def test_a_frame_of_almost_sixteen_mebibytes_passes(shared: Wrapped) -> None:
    text = "word " * ((16 * MIB - 1024) // 5)
    assert result(shared.ask("do/echo", text=text))["text"] == text


def test_a_line_over_the_limit_is_answered_either_way(wrapped: Wrapped) -> None:
    with wrapped:
        before = wrapped.loaded_kib()
        for size in (17 * MIB, 100 * MIB):
            head = wrapped.request("do/echo", text="x" * size)
            assert error_code(wrapped.answer(head)) == UNSCANNABLE
            before = before if size == 17 * MIB else wrapped.peak_kib()
            tail: Object = {"params": {"text": "x" * size}, "method": "do/echo", "id": size}
            wrapped.send({**tail, "jsonrpc": "2.0"})
            assert error_code(wrapped.answer(size)) == UNSCANNABLE
            assert error_code(wrapped.ask("do/large", number=size)) == UNSCANNABLE
        assert wrapped.seen == []
        assert "result" in wrapped.ask("ping")
        assert wrapped.peak_kib() - before < 40 * 1024, "no more than the limit, either way"


def test_a_line_that_does_not_end_leaves_nobody_waiting(shared: Wrapped) -> None:
    # Text where an answer is due, which answers nobody; the second has no end of line.
    shared.request("do/text", number=64 * MIB, text="\n")
    assert "result" in shared.ask("ping")
    shared.request("do/text", number=64 * MIB, text="")
    shared.ask("do/raw", text="\n")
    shared.send(b'{"jsonrpc":"2.0","id":70,"method":"do/echo","params":{"text":"' + b"x" * 64 * MIB)
    assert error_code(shared.answer(70)) == UNSCANNABLE
    shared.send(b'"}}\n')
    assert "result" in shared.ask("ping")
    assert shared.seen == []


@pytest.mark.parametrize(
    "banner",
    ["\\xef\\xbb\\xbf", "\\x1b[31mred\\x1b[0m\\x07\\n\\n\\n", "\\x00\\xff\\xfe\\x80binary\\n{\\n"],
    ids=["bom", "ansi", "binary"],
)
def test_what_a_server_prints_unasked_never_reaches_the_client(tmp_path: Path, banner: str) -> None:
    with Wrapped(tmp_path, f"banner={banner}").opened() as wrapped:
        assert wrapped.seen == []
        wrapped.end_silently()


def test_what_a_server_notifies_before_it_is_asked_never_reaches_the_client(tmp_path: Path) -> None:
    early = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\\n'
    options = ("--name", "demo", "--log-level", "info")
    with Wrapped(tmp_path, f"banner={early}", options=options) as wrapped:
        # Both sides run at once: without this wait, the client could be the first to speak.
        until(lambda: "protocol.too-early" in wrapped.said(), "the notification is dropped")
        wrapped.initialize()
        assert wrapped.seen == []
        wrapped.end_silently()


def test_nothing_that_is_no_frame_ever_reaches_the_client(tmp_path: Path) -> None:
    options = ("--name", "demo", "--log-level", "debug", "--log-format", "json")
    with Wrapped(tmp_path, "say=hello", "banner=hello\\n", options=options).opened() as wrapped:
        wrapped.ask("do/say", text="on stderr\n")
        wrapped.send(b"not json\n")
        garbage = bytes(range(256)).decode("latin-1").replace("\n", "") + "\n"
        for text in (*[garbage] * 20, "plain words\n"):
            wrapped.ask("do/raw", text=text)
        assert [frame for frame in wrapped.seen if "error" not in frame] == []
        wrapped.end_silently()
        assert "protocol." in wrapped.said()


# --- memory -----------------------------------------------------------------------------


def test_a_client_that_does_not_read_stops_the_server_and_fills_no_memory(wrapped: Wrapped) -> None:
    with wrapped:
        before = wrapped.loaded_kib()
        flood = wrapped.request("do/flood", number=FLOODED, text="word " * (FLOOD_BYTES // 5))
        until(wrapped.is_idle, "all pipes are full")
        again = wrapped.request("ping")  # the other direction goes on
        assert wrapped.peak_kib() - before < GROWTH_KIB
        assert "result" in wrapped.answer(flood)
        assert "result" in wrapped.answer(again)
        assert len(wrapped.seen) == FLOODED
        assert wrapped.peak_kib() - before < GROWTH_KIB


def test_a_server_that_reads_nothing_fills_no_memory(wrapped: Wrapped, tmp_path: Path) -> None:
    with wrapped:
        before = wrapped.loaded_kib()
        go_on = tmp_path / "go-on"
        waits = wrapped.request("do/wait", text=str(go_on))
        text = "word " * (FLOOD_BYTES // 5)
        message = line({"jsonrpc": "2.0", "method": "notifications/x", "params": {"text": text}})
        writer = threading.Thread(target=lambda: wrapped.send(message * FLOODED), daemon=True)
        writer.start()
        until(wrapped.is_idle, "all pipes are full")
        assert writer.is_alive()
        assert wrapped.peak_kib() - before < GROWTH_KIB
        go_on.touch()
        assert "result" in wrapped.answer(waits)
        writer.join()
        assert "result" in wrapped.ask("ping")
        assert wrapped.peak_kib() - before < GROWTH_KIB


def test_requests_go_on_in_a_flood_of_notifications(wrapped: Wrapped) -> None:
    with wrapped:
        before = wrapped.loaded_kib()
        flood = wrapped.request("do/flood", number=3000, text="tick")
        pings = [wrapped.request("ping") for _ in range(20)]
        assert "result" in wrapped.answer(flood)
        assert all("result" in wrapped.answer(id_) for id_ in pings)
        assert len(wrapped.seen) == 3000
        assert wrapped.peak_kib() - before < GROWTH_KIB


# --- standard error ---------------------------------------------------------------------


def test_stderr_is_masked_holds_up_no_frames_and_loses_no_last_words(wrapped: Wrapped) -> None:
    with wrapped:
        wrapped.ask("do/say", text="before\nloaded {key} from disk\n\tafter \x1b[1mbold\n")
        for _ in range(8):
            wrapped.ask("do/say", text="a word or two\n" * 70_000)
        assert "result" in wrapped.ask("ping")
        words = "".join(f"line {number}: {{key}}\n" for number in range(2000)) + "fatal"
        wrapped.ask("do/say", text=words)
        wrapped.request("do/kill", number=9)
        assert wrapped.code() == 137
        said = wrapped.said()
        assert KEY not in said
        assert said.startswith("before\nloaded [masked:")
        assert " from disk\n\tafter ^[[1mbold\n" in said
        assert said.count("a word or two\n") == 8 * 70_000
        assert said.count("masked:") == 2001
        assert "line 1999: " in said
        assert "\nfatal" in said
