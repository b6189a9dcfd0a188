"""Bundles that are forged, replayed, rolled back or truncated, and servers that are hostile."""

import hmac
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import time

import pytest

from pipeguard.config import following
from pipeguard.config.bundle import read_key
from pipeguard.config.enrolment import Enrolment
from pipeguard.config.following import describe_following, parse_follow, refresh
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.installation import EXTRAS
from tests.bundles import Signer, Site, join
from tests.each import each

DAY = 86_400
ONE, OTHER = Signer(), Signer()
GOOD = ONE.sign(2)
NEXT = ONE.sign(3)
SIGNED, _, SIGNATURE = NEXT.rpartition(".")
SIGN = ONE.private.sign
CLAIMS = json.dumps(ONE.claims(3))
FORM = "not a signed bundle: one compact JWS"
HEADER = "its header is not that of a bundle"
LAUGHS = "a: &a [x, x]\nactions: &b [*a, *a, *a]\ntools: {block: [*b, *b]}"
HEAD = b"HTTP/1.1 200 OK\r\n"
LOST = "/ gave no bundle: "
LARGE = "answers with more than 4194304 bytes"
MANY = b"e" * 65536


def mac(signed: bytes) -> bytes:
    return hmac.digest(json.dumps(ONE.jwk).encode(), signed, "sha256")


FORGED: dict[str, tuple[str, str]] = {
    "another key under our name": (OTHER.sign_as(kid=ONE.jwk["kid"]), "signature is wrong"),
    "none": (join({**ONE.header, "alg": "none"}, CLAIMS, lambda _: b"\0"), HEADER),
    "HMAC by the public key": (join({**ONE.header, "alg": "HS256"}, CLAIMS, mac), HEADER),
    "a token of a login": (ONE.sign_as(typ="JWT"), HEADER),
    "a number as key": (ONE.sign_as(kid=1), HEADER),
    "critical": (ONE.sign_as(crit=["exp"]), HEADER),
    "its own key": (OTHER.sign_as(jwk=OTHER.jwk), HEADER),
    "control characters": (ONE.sign_as(kid="\x1b[2J\n"), "is not one that may sign"),
    "changed claims": (f"{ONE.sign(9).rpartition('.')[0]}.{SIGNATURE}", "signature is wrong"),
    "no signature": (f"{SIGNED}.", FORM),
    "truncated by one": (NEXT[:-1], "signature is wrong"),
    "empty": ("", FORM),
    "a line end": (f"{NEXT}\n", FORM),
    "a line end in the signature": (f"{NEXT[:-9]}\n{NEXT[-9:]}", FORM),
    "a second signature": (f"{NEXT}.{SIGNATURE}", FORM),
    "only dots": ("." * 2**22, FORM),
    "a page": ("<!DOCTYPE html><title>Log in</title>", FORM),
    "a decimal number": (ONE.sign_as(CLAIMS.replace(" 3,", " 3.0,")), "`version`"),
    "no policy": (ONE.sign(policy=None), "`policy`"),
    "an object": (ONE.sign(approved={"a": 1}), "`approved`"),
    "a list as key": (ONE.sign(keys=[[]]), "`keys`"),
    "a lower version": (ONE.sign(1), "its version 1 is not above 2, now in force"),
    "the same version": (ONE.sign(2, policy=""), "version 2 is not above 2"),
    "expired": (ONE.sign(exp=int(time()) - 1), "expired"),
    "of tomorrow": (ONE.sign(iat=int(time()) + 2 * DAY), "clock of this machine"),
    "loose": (ONE.sign(policy="mode: observe"), "`observe` loosens"),
    "of a newer PipeGuard": (ONE.sign(policy="quarantine: all"), "quarantine: unknown key"),
    "laughs": (ONE.sign(policy=LAUGHS), "a: unknown key"),
    "half a character": (ONE.sign(policy="\ud800"), "not valid YAML"),
    "nested": (ONE.sign_as("[" * 100_000), "not a signed bundle"),
}


@pytest.fixture
def enrolment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enrolment:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("pipeguard.config.enrolment.system_folder", lambda: str(tmp_path / "no"))
    (tmp_path / "pipeguard").mkdir(0o700)
    return Enrolment(str(tmp_path / "pipeguard/follow.yaml"), is_managed=False)


def describe() -> following.Following:
    described = describe_following()
    assert described
    return described


def test_nothing_but_a_newer_bundle_of_the_organisation_is_adopted(enrolment: Enrolment) -> None:
    with Site(GOOD) as site:
        Path(enrolment.path).write_text(ONE.follow(site.url))
        assert refresh(enrolment) == 2
        good = Path(enrolment.bundles_path).read_bytes()

        @each("token, words", FORGED)
        def is_refused(token: str, words: str) -> None:
            site.content = token
            with pytest.raises(PipeGuardError) as refused:
                refresh(enrolment)
            assert words in str(refused.value)
            assert "\n" not in str(refused.value)
            assert Path(enrolment.bundles_path).read_bytes() == good
            assert (describe().version, describe().is_valid) == (2, True)
            assert describe().problem == f"the last fetch failed: {refused.value}"

        is_refused()
        site.content = NEXT
        assert refresh(enrolment) == 3


def test_keys_rotate_over_three_bundles(enrolment: Enrolment) -> None:
    third = Signer()
    first = ONE.sign(1)
    second = ONE.sign(2, keys=[OTHER.jwk])
    last = OTHER.sign(5, keys=[OTHER.jwk, third.jwk])
    with Site() as site:
        Path(enrolment.path).write_text(ONE.follow(site.url))
        for version, token in ((1, first), (2, second), (2, second), (5, last)):
            site.content = token
            assert refresh(enrolment) == version
        for withdrawn in (ONE.sign(6), ONE.sign(6, keys=[ONE.jwk])):
            site.content = withdrawn
            with pytest.raises(PipeGuardError, match="not one that may sign"):
                refresh(enrolment)
        site.content = third.sign(7)
        assert refresh(enrolment) == 7
    lines = Path(enrolment.bundles_path).read_text().splitlines()
    assert lines == [second, last, site.content]  # the first changed no keys
    Path(enrolment.path).write_text(third.follow(site.url))  # by an administrator, later
    assert (describe().kid, describe().is_valid) == (third.jwk["kid"], True)
    Path(enrolment.path).write_text(Signer().follow(site.url))
    assert (describe().version, describe().kid, describe().is_valid) == (7, "", False)
    assert describe().problem == "version 7 does not verify: its key is not one that may sign."


@contextmanager
def hostile(head: bytes, repeated: bytes) -> Iterator[str]:
    """A server that answers with a head, and then repeats bytes, slowly if there are few."""
    is_over = Event()

    def answer() -> None:
        connection, _ = server.accept()
        with suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(head)
            while repeated and not is_over.wait(0.0 if len(repeated) > 100 else 0.05):
                connection.sendall(repeated)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        is_over.set()
        thread.join()


HOSTILE = {
    "drips": (HEAD + b"Content-Length: 999\r\n\r\n", b"e", LOST),
    "never ends its head": (HEAD, b"A: b\r\n" * 999, LOST),
    "never ends": (HEAD + b"\r\n", MANY, LARGE),
    "compresses": (HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", b"", "one compact JWS"),
    "redirects": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"", "answers 302"),
    "has the same": (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"", "answers 304"),
    "has a part": (b"HTTP/1.1 206 Partial Content\r\n\r\n", b"", "answers 206"),
    "speaks otherwise": (b"\x00\xff\x1b[2J SSH-2.0\r\n\r\n", b"", LOST),
}


@each("head, repeated, words", HOSTILE)
def test_a_hostile_server_is_refused_in_bounded_time_and_memory(
    head: bytes, repeated: bytes, words: str, enrolment: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FETCH_SECONDS", 0.5 if words == LOST else 60.0)
    with hostile(head, repeated) as url:
        Path(enrolment.path).write_text(ONE.follow(url))
        with pytest.raises(PipeGuardError) as refused:
            refresh(enrolment)
    assert words in str(refused.value)
    assert str(refused.value).isprintable()
    assert not Path(enrolment.bundles_path).exists()


def test_a_port_that_no_server_has_is_refused(enrolment: Enrolment) -> None:
    Path(enrolment.path).write_text(ONE.follow("https://127.0.0.1:99999/"))
    with pytest.raises(PipeGuardError, match=LOST):
        refresh(enrolment)


def test_an_etag_names_what_is_in_force_and_only_that(enrolment: Enrolment) -> None:
    note = Path(enrolment.beside(following.NOTE_FILE))
    with Site(ONE.sign(1)) as site:
        Path(enrolment.path).write_text(ONE.follow(site.url))
        refresh(enrolment)
        os.utime(note, (0, 0))
        assert describe().problem == "the last fetch was more than a day ago."
        refresh(enrolment)
        assert describe().problem == ""
        Path(enrolment.bundles_path).unlink()
        assert "there is none yet" in describe().problem
        refresh(enrolment)
        first = Path(enrolment.bundles_path).read_text()
        site.content = ONE.sign(2)
        refresh(enrolment)
        Path(enrolment.bundles_path).write_text(first)  # a copy that somebody put back
        assert refresh(enrolment) == 2
        Path(enrolment.bundles_path).write_text(f"{site.content}\ngarbage\n")
        assert not describe().is_valid
        assert refresh(enrolment) == 2
        Path(enrolment.path).write_text(ONE.follow(f"{site.url}?sig=hidden"))
        assert refresh(enrolment) == 2
    assert [bool(etag) for etag in site.asked] == [False, True, False, True, False, True, False]
    described = describe()
    assert (described.url, described.kid) == (site.url, ONE.jwk["kid"])
    assert Path(enrolment.bundles_path).read_text() == f"{site.content}\n"


def test_a_wrong_lock_neither_waits_nor_writes_elsewhere(enrolment: Enrolment) -> None:
    lock = enrolment.beside(following.LOCK_FILE)
    with Site(ONE.sign(1)) as site:
        Path(enrolment.path).write_text(ONE.follow(site.url))
        os.mkfifo(lock)
        assert refresh(enrolment) == 1
        os.unlink(lock)
        os.symlink("elsewhere", lock)
        with pytest.raises(PipeGuardError, match="nothing in "):
            refresh(enrolment)
    assert not Path(enrolment.beside("elsewhere")).exists()


def test_an_expired_bundle_is_told(enrolment: Enrolment) -> None:
    Path(enrolment.path).write_text(ONE.follow("https://policy.example/"))
    for blocks, words in (("keep", "it stays in force"), ("block", "no server starts")):
        token = ONE.sign(1, exp=int(time()) - 1, after_expiry=blocks)
        Path(enrolment.bundles_path).write_text(f"{token}\n")
        assert words in describe().problem
        assert not describe().is_valid


def test_without_the_extra_nothing_is_verified(
    enrolment: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(enrolment.path).write_text(ONE.follow("https://policy.example/"))
    Path(enrolment.bundles_path).write_text(ONE.sign(4))
    monkeypatch.setitem(EXTRAS, "fleet", ("no_such_module",))
    assert (describe().version, describe().is_valid) == (4, False)
    assert "signatures need mcp-pipeguard[fleet]" in describe().problem


FOLLOW = "url: https://policy.example/\n"
WRONG = {
    "http": ("url: http://policy.example/\nkey: KEY", "neither https"),
    "a user": ("url: https://kim:secret@policy.example/\nkey: KEY", "neither https"),
    "loopback in a name": ("url: http://127.0.0.1.evil.example/\nkey: KEY", "neither https"),
    "no key": (FOLLOW, "`key` is missing"),
    "a text as key": (f"{FOLLOW}key: key.pub", "expected names and values"),
    "empty": ("# nothing", "follow.yaml is empty"),
    "not YAML": ("{", "not valid YAML"),
}


@each("text, words", WRONG)
def test_a_wrong_enrolment_is_refused_without_its_password(text: str, words: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_follow(text.replace("KEY", json.dumps(ONE.jwk)), "follow.yaml")
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


def test_writers_take_turns(enrolment: Enrolment) -> None:
    with Site() as site:
        Path(enrolment.path).write_text(ONE.follow(site.url))
        site.content = ONE.sign(1)
        threads = [Thread(target=refresh, args=(enrolment,), daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Path(enrolment.bundles_path).read_text() == f"{site.content}\n"
    assert sum(map(bool, site.asked)) == 7  # those after the first have its ETag


def test_a_thumbprint_is_that_of_the_standard() -> None:
    """RFC 8037, appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert read_key(jwk)[0] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
