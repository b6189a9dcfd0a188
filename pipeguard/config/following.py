"""Follows an organisation's policy: fetches its bundle, adopts a newer one, and says how it is.

Writes next to the enrolment: the bundles, which running servers watch, and a note of the last
fetch, which they do not. One process at a time does so. What is refused changes nothing in force.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from hashlib import sha256
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from pipeguard.config.atomic_write import OWNER_ONLY, lock_file, replace_file
from pipeguard.config.bundle import BundleChain, read_key, verify_bundle, verify_chain
from pipeguard.config.directories import config_folder
from pipeguard.config.enrolment import (
    BUNDLES_FILE,
    FOLLOW_FILE,
    Enrolment,
    find_enrolment,
    is_there,
)
from pipeguard.config.organisation import (
    MAX_BUNDLE_BYTES,
    MAX_BUNDLES_BYTES,
    Bundle,
    read_bundle,
)
from pipeguard.config.policy_file import DAY_SECONDS
from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.errors import PipeGuardError, PolicyError
from pipeguard.installation import require_extra
from pipeguard.records import NamedTuple
from pipeguard.unicode.display import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx2 import Response

NOTE_FILE = "follow-state.json"
LOCK_FILE = "follow.lock"
FILES = (BUNDLES_FILE, NOTE_FILE, FOLLOW_FILE)  # the last one says that there are the others
FETCH_SECONDS = 10.0  # for all of a fetch
SHOWN_CHARS = 500  # of a problem
MAX_FILE_BYTES = 64 * 1024  # of an enrolment, or of the note
_READABLE = 0o644


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


class _Note(NamedTuple):
    """The outcome of the last fetch: an ETag, the digest of the bundle it names, and the error."""

    etag: str = ""
    digest: str = ""
    problem: str = ""


def parse_follow(text: str, source: str) -> tuple[str, dict[str, bytes]]:
    """Read an enrolment: the URL, and the public key by its thumbprint.

    Raises:
        PolicyError: it is invalid, or the URL is not one that bundles are fetched from.
    """
    try:
        fields = yaml.safe_load(text)
        url = str(fields["url"])
        host = urlsplit(url).hostname or ""
        keys = dict([read_key(fields["key"])])
    except PolicyError as error:
        raise PolicyError(f"{source}: {error}") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise PolicyError(f"{source} does not have a `url`, and a `key` that is a JWK.") from None
    if not host or "@" in url or not (url.startswith("https:") or is_loopback(host)):
        raise PolicyError(f"{source}: its `url` is neither https without a user, nor loopback.")
    return url, keys


async def _fetch(url: str, etag: str) -> tuple[str, str] | None:
    """Fetch a bundle and its ETag; None if it is still the one that an earlier ETag names.

    A proxy of the environment is used, except to this machine; TLS ends at the server.

    Raises:
        PolicyError: the server cannot be reached, or answers with something else.
    """
    import asyncio
    import ssl

    import httpx2
    import truststore

    host = urlsplit(url).hostname or ""
    headers = {"Accept-Encoding": "identity", **({"If-None-Match": etag} if etag else {})}
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    uses_proxy = not is_loopback(host)
    try:
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx2.AsyncClient(verify=context, trust_env=uses_proxy) as client,
            client.stream("GET", url, headers=headers, timeout=FETCH_SECONDS) as answer,
        ):
            if answer.status_code == 304 and etag:
                return None
            named = answer.headers.get("ETag", "").encode("ascii", "ignore").decode()
            return await _read_answer(answer), named
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, ImportError) as error:
        why = str(error) or type(error).__name__
        raise PolicyError(f"{host} gave no bundle in {FETCH_SECONDS:g} s: {why}.") from None


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
        for name in filter(os.path.exists, map(enrolment.beside, reversed(FILES))):
            os.unlink(name)


def refresh(enrolment: Enrolment) -> int:
    """Fetch once, adopt a newer bundle, and note the outcome; return the version in force.

    Raises:
        PipeGuardError: the server cannot be reached, or its bundle is refused, and the last good
            one stays in force; or this user may not.
    """
    import asyncio

    require_extra("fleet", "bundles", PolicyError)
    with _write_alone(enrolment):
        before = _read_note(enrolment)[0]
        try:
            url, chain = _load(enrolment)
            is_known = chain.bundle and before.digest == _find_digest(url, chain)
            fetched = asyncio.run(_fetch(url, before.etag if is_known else ""))
            token, etag = fetched or (chain.token, before.etag)
            chain = _adopt(enrolment, chain, token)
        except PolicyError as error:
            problem = _in_one_line(error)
            _write_note(enrolment, before._replace(problem=problem), before)
            raise PipeGuardError(problem) from None
        _write_note(enrolment, _Note(etag, _find_digest(url, chain)), before)
    return chain.bundle.version if chain.bundle else 0


@contextmanager
def _write_alone(enrolment: Enrolment) -> Iterator[None]:
    """Exclude other writers by a lock on a file that only its owner can open, and so hold.

    Raises:
        PipeGuardError: something cannot be written.
    """
    folder = os.path.dirname(enrolment.path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(os.open(enrolment.beside(LOCK_FILE), os.O_CREAT, OWNER_ONLY)) as lock:
            lock_file(lock.fileno())
            yield
    except OSError as error:
        raise PipeGuardError(f"nothing in {folder} can be written: {error.strerror}.") from None


def _load(enrolment: Enrolment) -> tuple[str, BundleChain]:
    url, keys = parse_follow(enrolment.read(enrolment.path, MAX_FILE_BYTES), enrolment.path)
    lines = list[str]()
    if is_there(enrolment.bundles_path):
        lines = enrolment.read(enrolment.bundles_path, MAX_BUNDLES_BYTES).splitlines()
    return url, verify_chain(lines, keys)


def _adopt(enrolment: Enrolment, chain: BundleChain, token: str) -> BundleChain:
    """Put a bundle in force, unless it is already; return the chain that ends with it.

    Raises:
        PolicyError: it is refused.
    """
    import datetime

    if chain.bundle and token == chain.token:
        return chain
    bundle = verify_bundle(token, chain.keys)[1]
    current = chain.bundle.version if chain.bundle else 0
    if bundle.version < current:
        raise PolicyError(f"its version {bundle.version} is lower than {current}, now in force.")
    if bundle.version == current:
        raise PolicyError(f"its version {current} is in force already, with other words.")
    if bundle.has_ended(time()):
        raise PolicyError("it has expired, or the clock of this machine was set back.")
    bundle.to_file(now=0.0, today=datetime.date.today())  # noqa: DTZ011  the user's own calendar
    content = "\n".join((*chain.rotations, token, ""))
    if len(content) > MAX_BUNDLES_BYTES:
        raise PolicyError("there is no room for it behind the bundles that changed keys.")
    _write(enrolment, BUNDLES_FILE, content)
    return verify_chain([token], chain.keys)


def _write(enrolment: Enrolment, name: str, content: str) -> None:
    mode = _READABLE if enrolment.is_managed else OWNER_ONLY
    replace_file(enrolment.beside(name), content.encode(), mode)


def _find_digest(url: str, chain: BundleChain) -> str:
    return sha256(f"{url}\n{chain.token}".encode()).hexdigest()


def _read_note(enrolment: Enrolment) -> tuple[_Note, float]:
    """The note of the last fetch, and its time in seconds since 1970; empty and 0 without one."""
    path = enrolment.beside(NOTE_FILE)
    with suppress(PolicyError, OSError, ValueError, TypeError, RecursionError):
        note = _Note(*map(str, json.loads(enrolment.read(path, MAX_FILE_BYTES))))
        return note, os.stat(path).st_mtime
    return _Note(), 0.0


def _write_note(enrolment: Enrolment, note: _Note, before: _Note) -> None:
    """Note a fetch; if its outcome is as before, only the file's time changes."""
    if note == before:
        os.utime(enrolment.beside(NOTE_FILE))
    else:
        _write(enrolment, NOTE_FILE, json.dumps(note))


def describe_following() -> Following | None:
    """Describe the organisation's policy here, with all signatures verified; None without one."""
    enrolment = find_enrolment()
    if enrolment is None:
        return None
    note, fetched = _read_note(enrolment)
    following = Following("", enrolment.is_managed, fetched=fetched)
    try:
        url, chain = _load(enrolment)
        following = following._replace(url=url.partition("?")[0], kid=chain.kid)
        bundle = read_bundle(enrolment)
    except PolicyError as error:
        return following._replace(problem=_in_one_line(error))
    return following._replace(
        version=bundle.version,
        expires=bundle.expires,
        is_valid=bool(chain.bundle) and not bundle.has_ended(time()),
        problem=_find_problem(chain, bundle, note, fetched),
    )


def _find_problem(chain: BundleChain, bundle: Bundle, note: _Note, fetched: float) -> str:
    if chain.problem:
        return f"version {bundle.version} does not verify: {chain.problem}"
    if bundle.has_ended(time()):
        end = "no server starts" if bundle.blocks_after else "it stays in force"
        return f"it has expired, or the clock of this machine was set back: {end}."
    if note.problem:
        return f"the last fetch failed: {note.problem}"
    if fetched > time() + DAY_SECONDS:
        return "the clock of this machine was set back since the last fetch."
    is_late = time() - fetched > DAY_SECONDS
    return "the last fetch was more than a day ago." if is_late else ""


def _in_one_line(error: Exception) -> str:
    return show(" ".join(str(error).split()), SHOWN_CHARS)
