"""Bundles fetched from real servers, right ones and hostile ones, and what is noted of it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from time import time

import pytest

from pipeguard.config import following
from pipeguard.config.enrolment import Enrolment
from pipeguard.config.following import NOTE_FILE, describe_following, parse_follow, refresh
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.installation import EXTRAS
from tests.bundles import Site
from tests.config.test_bundle import DAY, ONE
from tests.config.test_bundle import enrolment as enrolment
from tests.each import each

HEAD = b"HTTP/1.1 200 OK\r\n"
LOST = "127.0.0.1 gave no bundle in 0.5 s"
LARGE = "answers with more than 4194304 bytes"
MANY = b"e" * 65536


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
    "drips its head": (HEAD, b"A: b\r\n", LOST),
    "says nothing": (b"", b" ", LOST),
    "never ends its head": (HEAD, b"A: b\r\n" * 999, LOST),
    "never ends": (HEAD + b"\r\n", MANY, LARGE),
    "names a huge length": (HEAD + b"Content-Length: 99999999999999\r\n\r\n", MANY, LARGE),
    "compresses": (HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b", b"", "not canonical"),
    "hangs up": (HEAD + b"Content-Length: 999\r\n\r\ne", b"", LOST),
    "redirects": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"", "answers 302"),
    "has none": (b"HTTP/1.1 404 Not Found\r\n\r\n", b"", "answers 404"),
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


def describe() -> following.Following:
    described = describe_following()
    assert described
    return described


def test_an_etag_names_what_is_in_force_and_only_that(enrolment: Enrolment) -> None:
    note = Path(enrolment.beside(NOTE_FILE))
    with Site(ONE.sign(1)) as site:
        Path(enrolment.path).write_text(ONE.follow(site.url))
        refresh(enrolment)
        before = note.stat().st_ino
        os.utime(note, (0, 0))
        assert describe().problem == "the last fetch was more than a day ago."
        refresh(enrolment)
        assert note.stat().st_ino == before  # nothing else is written each minute
        assert describe().problem == ""
        Path(enrolment.bundles_path).unlink()
        assert "there is none yet" in describe().problem
        refresh(enrolment)
        first = Path(enrolment.bundles_path).read_text()
        site.content = ONE.sign(2)
        refresh(enrolment)
        Path(enrolment.bundles_path).write_text(first)  # a copy that somebody put back
        assert refresh(enrolment) == 2
        Path(enrolment.bundles_path).write_text("garbage\n")
        assert not describe().is_valid
        note.write_text("[[")
        assert refresh(enrolment) == 2
        note.unlink()
        Path(enrolment.path).write_text(ONE.follow(f"{site.url}?sig=hidden"))
        assert refresh(enrolment) == 2
    assert [bool(etag) for etag in site.asked] == [False, True, False, True, *[False] * 3]
    described = describe()
    assert (described.url, described.kid) == (site.url, ONE.jwk["kid"])
    for path in (enrolment.bundles_path, note):
        assert Path(path).stat().st_mode & 0o777 == 0o600


@each("blocks, words", {"keep": ("keep", "it stays in force"), "block": ("block", "no server")})
def test_an_expired_bundle_is_told(blocks: str, words: str, enrolment: Enrolment) -> None:
    Path(enrolment.path).write_text(ONE.follow("https://policy.example/"))
    token = ONE.sign(1, exp=int(time()) - 1, after_expiry=blocks)
    Path(enrolment.bundles_path).write_text(f"{token}\n")
    assert words in describe().problem
    assert not describe().is_valid
    Path(enrolment.bundles_path).write_text(ONE.sign(1, iat=int(time()) + 2 * DAY))
    assert "clock of this machine was set back" in describe().problem


def test_without_the_extra_nothing_is_verified(
    enrolment: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(enrolment.path).write_text(ONE.follow("https://policy.example/"))
    Path(enrolment.bundles_path).write_text(ONE.sign(4))
    monkeypatch.setitem(EXTRAS, "fleet", ("no_such_module",))
    assert (describe().version, describe().is_valid) == (4, False)
    assert "signatures need mcp-pipeguard[fleet]" in describe().problem
    with pytest.raises(PolicyError, match=r"^bundles need mcp-pipeguard\[fleet\]"):
        refresh(enrolment)


FOLLOW = "url: https://policy.example/\n"
WRONG = {
    "http": ("url: http://policy.example/\nkey: KEY", "neither https"),
    "a user": ("url: https://kim:secret@policy.example/\nkey: KEY", "neither https"),
    "another scheme": ("url: file:///etc/passwd\nkey: KEY", "neither https"),
    "loopback in a name": ("url: http://127.0.0.1.evil.example/\nkey: KEY", "neither https"),
    "no address": ("url: https://[::1/\nkey: KEY", "does not have a `url`"),
    "no key": (FOLLOW, "does not have a `url`, and a `key`"),
    "a text as key": (f"{FOLLOW}key: key.pub", "does not have a `url`"),
    "a list": ("[]", "does not have a `url`"),
    "not YAML": ("{", "does not have a `url`"),
    "nested": ("[" * 5000, "does not have a `url`"),
    "a private key": (FOLLOW + 'key: {"d": "secret"}', "private key"),
    "another key": (FOLLOW + "key: {kty: RSA}", "not an Ed25519 key"),
}


@each("text, words", WRONG)
def test_a_wrong_enrolment_is_refused_without_its_password(text: str, words: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse_follow(text.replace("KEY", str(ONE.jwk)), "follow.yaml")
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
