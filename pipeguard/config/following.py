"""Follows an organisation's policy: fetches its bundle, adopts a newer one, and says how it is.

Writes next to the enrolment: the bundles, which running servers watch, and a note of the last
fetch, which they do not. One process at a time does so. What is refused changes nothing in force.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING

from pipeguard.config.atomic_write import lock_file, open_file, replace_file
from pipeguard.config.bundle import BundleChain, verify_chain
from pipeguard.config.directories import config_folder
from pipeguard.config.enrolment import (
    BUNDLES_FILE,
    FOLLOW_FILE,
    MAX_BUNDLE_BYTES,
    MAX_BUNDLES_BYTES,
    Enrolment,
    find_enrolment,
)
from pipeguard.config.organisation import read_bundle, read_lines
from pipeguard.config.policy_file import DAY_SECONDS
from pipeguard.config.strict_yaml import Document
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2 import Response

NOTE_FILE = "follow-problem.txt"
LOCK_FILE = "follow.lock"
FILES = (NOTE_FILE, BUNDLES_FILE, FOLLOW_FILE)  # the last one says that there are the others
FETCH_SECONDS = 10.0  # for all of a fetch
SHOWN_CHARS = 500  # of a problem
_READABLE = 0o644
_URL = r"(https://[^/@?#\s]+|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?)(/\S*)?"
# Of the bundle that this process fetched last, by its URL and text. In a file, an agent could
# change it, and so keep newer bundles away.
_ETAG = dict[tuple[str, str], str]()


class Following(NamedTuple):
    """The organisation's policy on this machine.

    Attributes:
        url: of the bundle, without its query, which may have a secret; empty if it is unknown.
        is_managed: as in Enrolment.
        version: of the bundle in force; 0 if there is none.
        kid: the thumbprint of the key that signed it; empty if it does not verify.
        expires: when it ends, in seconds since 1970; None for never.
        fetched: when the last fetch was, in the same; 0 if there was none.
        is_valid: True if it verifies and has not ended.
        problem: for a person, in one line; empty if all is well.
    """

    url: str
    is_managed: bool
    version: int = 0
    kid: str = ""
    expires: int | None = None
    fetched: float = 0.0
    is_valid: bool = False
    problem: str = ""

    @property
    def line(self) -> str:
        """All of it in one line, for a person."""
        version = f", version {self.version} of {self.url}" if self.version else ""
        whose = f"The organisation's policy{version}"
        return f"{whose}, is in force." if not self.problem else f"{whose}: {self.problem}"


def parse_follow(text: str, source: str) -> tuple[str, dict[str, str | None]]:
    """Read an enrolment: the URL, and the members of the public key, a JWK.

    Raises:
        PolicyError: it is invalid, or the URL is not one that bundles are fetched from.
    """
    document = Document(text, source)
    if document.root is None:
        raise PolicyError(f"{source} is empty.")
    fields = document.root.fields(("url", "key"), required=("url", "key"))
    document.finish()
    url = fields["url"].text() or ""
    jwk = fields["key"].known_fields(("kty", "crv", "x", "d"))
    key = {name: entry.text() for name, entry in jwk.items()}
    document.finish()
    if not re.fullmatch(_URL, url):
        raise PolicyError(f"{source}: its `url` is neither https without a user, nor loopback.")
    return url, key


async def _fetch(url: str, etag: str) -> tuple[str, str] | None:
    """Fetch a bundle and its ETag; None if it is still the one that an earlier ETag names.

    Raises:
        PolicyError: the server cannot be reached, or answers with something else.
    """
    import asyncio

    import httpx2

    headers = {"Accept-Encoding": "identity", **({"If-None-Match": etag} if etag else {})}
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx2.AsyncClient(headers=headers, timeout=FETCH_SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code == 304 and etag:
                return None
            named = answer.headers.get("ETag", "")
            return await _read_answer(answer), named if named.isascii() else ""
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, ExceptionGroup) as error:
        why = str(error).rstrip(".") or f"it takes longer than {FETCH_SECONDS:g} s"
        raise PolicyError(f"{url.partition('?')[0]} gave no bundle: {why}.") from None


async def _read_answer(answer: Response) -> str:
    if answer.status_code != 200:
        raise PolicyError(f"the server answers {answer.status_code}.")
    content = b""
    async for chunk in answer.aiter_raw():  # as it came: whatever is compressed is refused
        content += chunk
        if len(content) > MAX_BUNDLE_BYTES:
            raise PolicyError(f"the server answers with more than {MAX_BUNDLE_BYTES} bytes.")
    return content.decode("ascii", "replace")


def enrol(text: str, confirm: Callable[[int], None]) -> None:
    """Put a first bundle in force, and follow its URL from now on.

    Args:
        text: of the enrolment's file.
        confirm: asks a person, with the bundle's version; raises if they decline.

    Raises:
        PolicyError: the enrolment is invalid.
        PipeGuardError: the bundle cannot be fetched or is refused. Then nothing changes.
    """
    parse_follow(text, "the enrolment")
    folder = config_folder()
    enrolment = Enrolment(os.path.join(folder, FOLLOW_FILE), is_managed=False)
    with _write_alone(enrolment), TemporaryDirectory(dir=folder) as draft:
        first = enrolment._replace(path=os.path.join(draft, FOLLOW_FILE))
        replace_file(first.path, text.encode())
        confirm(refresh(first))
        for name in FILES:
            os.replace(first.beside(name), enrolment.beside(name))


def leave(enrolment: Enrolment) -> None:
    """Follow no policy any more.

    Raises:
        PipeGuardError: a file cannot be removed.
    """
    with _write_alone(enrolment):
        for name in reversed(FILES):
            Path(enrolment.beside(name)).unlink(missing_ok=True)


def refresh(enrolment: Enrolment) -> int:
    """Fetch once, adopt a newer bundle, and note the outcome; return the version in force.

    Raises:
        PipeGuardError: the server cannot be reached, or its bundle is refused, and the last good
            one stays in force; or this user may not.
    """
    import asyncio

    with _write_alone(enrolment):
        try:
            url, key = parse_follow(enrolment.read(FOLLOW_FILE), enrolment.path)
            chain = verify_chain(read_lines(enrolment), key)
            etag = _ETAG.get((url, chain.token), "")
            token, etag = asyncio.run(_fetch(url, etag)) or (chain.token, etag)
            version = _adopt(enrolment, chain, token)
        except PolicyError as error:
            problem = _in_one_line(error)
            _write(enrolment, NOTE_FILE, problem)
            raise PipeGuardError(problem) from None
        _write(enrolment, NOTE_FILE, "")
        _ETAG.clear()
        _ETAG[url, token] = etag
    return version


@contextmanager
def _write_alone(enrolment: Enrolment) -> Iterator[None]:
    """Exclude other writers by a lock on a file that only its owner can open, and so hold.

    Raises:
        PipeGuardError: something cannot be written.
    """
    folder = os.path.dirname(enrolment.path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(open_file(enrolment.beside(LOCK_FILE))) as lock:
            lock_file(lock.fileno())
            yield
    except OSError as error:
        who = " Only an administrator fetches it." if enrolment.is_managed else ""
        why = f"nothing in {folder} can be written: {error.strerror}.{who}"
        raise PipeGuardError(why) from None


def _adopt(enrolment: Enrolment, chain: BundleChain, token: str) -> int:
    """Put a bundle in force, unless it is already; return its version.

    Raises:
        PolicyError: it is refused.
    """
    bundle = chain.extend(token).bundle
    if bundle.has_ended(time()):
        raise PolicyError("it has expired, or the clock of this machine was set back.")
    bundle.to_file()
    if token != chain.token or chain.problem:
        lines = dict.fromkeys((*chain.rotations, token, ""))  # the newest may be among the others
        content = "\n".join(lines)
        if len(content) > MAX_BUNDLES_BYTES:
            raise PolicyError("there is no room for it behind the bundles that changed keys.")
        _write(enrolment, BUNDLES_FILE, content)
    return bundle.version


def _write(enrolment: Enrolment, name: str, content: str) -> None:
    replace_file(enrolment.beside(name), content.encode(), _READABLE)


def _read_note(enrolment: Enrolment) -> tuple[str, float]:
    """The error of the last fetch, and its time in seconds since 1970; empty and 0 without one."""
    path = enrolment.beside(NOTE_FILE)
    with suppress(PolicyError, OSError):
        return _in_one_line(enrolment.read(NOTE_FILE)), os.stat(path).st_mtime
    return "", 0.0


def describe_following() -> Following | None:
    """Describe the organisation's policy here, with all signatures verified; None without one."""
    enrolment = find_enrolment()
    if enrolment is None:
        return None
    problem, fetched = _read_note(enrolment)
    following = Following("", enrolment.is_managed, fetched=fetched)
    try:
        url, key = parse_follow(enrolment.read(FOLLOW_FILE), enrolment.path)
        following = following._replace(url=url.partition("?")[0])
        bundle = read_bundle(enrolment)
        following = following._replace(version=bundle.version, expires=bundle.exp)
        chain = verify_chain(read_lines(enrolment), key)
    except PolicyError as error:
        return following._replace(problem=_in_one_line(error))
    has_ended = bundle.has_ended(time())
    if chain.problem:
        problem = f"version {bundle.version} does not verify: {chain.problem}"
    elif has_ended:
        end = "no server starts" if bundle.after_expiry == "block" else "it stays in force"
        problem = f"it has expired, or the clock of this machine was set back: {end}."
    elif problem:
        problem = f"the last fetch failed: {problem}"
    elif fetched > time() + DAY_SECONDS:
        problem = "the clock of this machine was set back since the last fetch."
    elif time() - fetched > DAY_SECONDS:
        problem = "the last fetch was more than a day ago."
    is_valid = not (chain.problem or has_ended)
    return following._replace(kid=chain.kid, is_valid=is_valid, problem=problem)


def _in_one_line(text: object) -> str:
    return show(" ".join(str(text).split()), SHOWN_CHARS)
