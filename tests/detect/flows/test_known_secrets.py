"""Our secrets are found exactly, however a server writes them, and nothing else is."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard import Action, Direction, Frame, Policy, Session
from pipeguard.detect.detector import get_detection, make_guard
from pipeguard.detect.flows.known_secrets import MASK, MIN_CHARS, KnownSecrets
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import engines

SECRET = "correct horse/battery+staple="  # has what URLs, JSON and base64 write otherwise
SPELT = {
    "plain": SECRET,
    "url": quote(SECRET, safe=""),
    "form": quote_plus(SECRET),
    "lower": quote(SECRET, safe="")
    .replace("%2F", "%2f")
    .replace("%2B", "%2b")
    .replace("%3D", "%3d"),
    "path": quote(SECRET),
    "encodeURI": quote(SECRET, safe=";/?:@&=+$,#!'()*"),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64-in-url": quote(base64.b64encode(b"a?" + SECRET.encode() + b"?>>").decode(), safe=""),
    "basic": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "inside": base64.b64encode(f"a token={SECRET}&b=c".encode()).decode(),
    "url-safe": base64.urlsafe_b64encode(f"?{SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("spelt", SPELT.values(), ids=SPELT.keys())
def test_a_secret_is_masked_however_it_is_written(spelt: str) -> None:
    known = KnownSecrets([SECRET])
    masked = known.mask(f"before {spelt} behind")
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" behind")
    assert spelt not in masked
    assert known.masked_bytes(f"before {spelt}".encode()) == known.mask(f"before {spelt}").encode()


@tried(200)
@given(st.text(min_size=MIN_CHARS, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_text_shows_a_known_secret(secret: str, before: str, behind: str) -> None:
    known = KnownSecrets([secret])
    if not secret.isascii() and any("\ud800" <= one <= "\udfff" for one in secret):
        return
    if known:
        assert secret not in known.mask(before + secret + behind).replace(MASK, "\0")


@tried(200)
@given(st.binary(min_size=MIN_CHARS, max_size=30), st.binary(max_size=9), st.binary(max_size=9))
def test_base64_shows_at_most_its_ends(secret: bytes, before: bytes, behind: bytes) -> None:
    value = secret.hex()
    text = base64.b64encode(before + value.encode() + behind).decode()
    masked = KnownSecrets([value]).mask(text)
    assert MASK in masked


def test_short_values_and_other_texts_are_left_alone() -> None:
    assert not KnownSecrets(["short", "1234567", ""])
    known = KnownSecrets([SECRET])
    for text in ("", "correct horse", "battery staple", "Y29ycmVjdA==", "aGVsbG8gd29ybGQgaGVsbG8="):
        assert known.mask(text) is text
    assert SECRET not in repr(known)


def session(secret: str = SECRET) -> Session:
    guard = make_guard("demo", engines(), Policy(), {})
    detection = get_detection(guard)
    detection.knowledge = detection.knowledge._replace(known_secrets=KnownSecrets([secret]))
    return Session(guard, "RUN")


def said(held: Session, request: dict[str, object], answer: dict[str, object]) -> object:
    """Return what the client gets for a request, as a value."""
    frame = json.dumps({"jsonrpc": "2.0", "id": 1, **request}).encode()
    assert held.take(Frame(Direction.TO_SERVER, frame, 0.0)).forward is frame
    back = json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode()
    verdict = held.take(Frame(Direction.TO_CLIENT, back, 0.0))
    assert verdict.frame is back
    assert verdict.forward is not None
    if verdict.forward is not back:
        assert verdict.action is Action.REDACT
        assert [finding.rule for finding in verdict.findings] == ["secrets.known"]
    return json.loads(verdict.forward)


OPENED = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "a"}}


@pytest.mark.parametrize("spelt", [SECRET, SPELT["form"], SPELT["inside"]])
@pytest.mark.parametrize(
    ("method", "shape"),
    [
        ("tools/call", lambda text: {"result": {"content": [{"type": "text", "text": text}]}}),
        ("tools/call", lambda text: {"result": {"content": [], "structuredContent": {text: 1}}}),
        ("initialize", lambda text: {"result": {**OPENED, "instructions": f"Use {text} here."}}),
        ("tools/list", lambda text: {
            "result": {"tools": [{"name": "a", "description": text, "inputSchema": {}}]}
        }),
        ("x/y", lambda text: {"error": {"code": -1, "message": f"no: {text}", "data": [text]}}),
    ],
)  # fmt: skip
def test_what_a_server_repeats_of_ours_does_not_go_on(
    method: str, shape: object, spelt: str
) -> None:
    assert callable(shape)
    params = {"name": "a", "arguments": {}} if method == "tools/call" else {}
    got = said(session(), {"method": method, "params": params}, shape(spelt))
    assert spelt not in json.dumps(got, ensure_ascii=False)
    assert "[redacted:secrets.known]" in json.dumps(got)
    innocent = shape("the correct horse")
    clean = said(session(), {"method": method, "params": params}, innocent)
    assert clean == {"jsonrpc": "2.0", "id": 1, **innocent}


@pytest.mark.parametrize(
    ("secret", "hidden"),
    [
        (SECRET, "".join(f"\\u{ord(one):04x}" for one in SECRET)),
        ("wörter-пароль", "wörter-" + "".join(f"\\u{ord(one):04x}" for one in "пароль")),
        ('wörter"пароль', 'wörter\\"пароль'),
        ("wörter\nпароль", "wörter\\nпароль"),
    ],
)
def test_escapes_of_json_hide_nothing(secret: str, hidden: str) -> None:
    held = session(secret)
    frame = b'{"jsonrpc":"2.0","id":1,"method":"x/y","params":{}}'
    held.take(Frame(Direction.TO_SERVER, frame, 0.0))
    back = b'{"jsonrpc":"2.0","id":1,"result":{"a":"%s"}}' % hidden.encode()
    verdict = held.take(Frame(Direction.TO_CLIENT, back, 0.0))
    assert verdict.forward == b'{"jsonrpc":"2.0","id":1,"result":{"a":"[redacted:secrets.known]"}}'


@pytest.mark.parametrize("secret", ['correct"horse', "correct\\horse", 'wörter"пароль'])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_json_in_a_text_hides_nothing(secret: str, is_ascii: bool) -> None:
    text = json.dumps({"a": secret}, ensure_ascii=is_ascii)
    frame = json.dumps({"text": text}, ensure_ascii=False).encode()
    known = KnownSecrets([secret])
    assert known.may_occur(frame)
    assert known.mask(text) == '{"a": "****"}'


def test_what_goes_to_the_server_stays_as_it_is() -> None:
    frame = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "x/y", "params": {"say": SECRET[:9]}}
    ).encode()
    assert session().take(Frame(Direction.TO_SERVER, frame, 0.0)).forward is frame
