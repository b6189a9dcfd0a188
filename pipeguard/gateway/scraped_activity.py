"""Recent activity of a running gateway's servers, by two looks at its `/metrics`.

Also fetches other paths of a running gateway.
"""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException, RemoteDisconnected
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from prometheus_client.parser import text_string_to_metric_families

from pipeguard.errors import PipeGuardError
from pipeguard.gateway.telemetry import PAST_AGE
from pipeguard.state.activity import ServerActivity
from pipeguard.transports.http import challenge
from pipeguard.transports.http.client.upstream import HUNG_UP, NO_TLS, REASON_BYTES
from pipeguard.unicode.display import visible

MOST_BYTES = 64 * 2**20  # of an answer: figures have some 2 KB a server, a tool some 1 KB
PATIENCE_SECONDS = 5.0
CALLS, VERDICTS = "pipeguard_call_seconds", "pipeguard_verdicts_total"
UP, WAITING = "pipeguard_server_up", "pipeguard_definitions_waiting"

Buckets = dict[float, float]  # calls that took so many seconds at most


class Scrape(NamedTuple):
    """The figures of one look.

    Attributes:
        time: of the look, in seconds on a clock that only goes forward.
        up: whether each server can be called.
        waiting: the definitions of each that wait for approval.
        blocked: messages to and from each that were blocked.
        held: likewise, that did not go on since definitions wait.
        calls: of each, in buckets by their time.
    """

    time: float
    up: Mapping[str, bool]
    waiting: Mapping[str, int]
    blocked: Mapping[str, int]
    held: Mapping[str, int]
    calls: Mapping[str, Buckets]


class _NoRedirect(HTTPRedirectHandler):
    """A token goes to the address that the user gave, and to no other."""

    def redirect_request(self, *_args: object, **_named: object) -> None:
        return None


def scrape(url: str, token: str, now: float, seconds_ago: float = 0.0) -> Scrape:
    """Look at the figures of a gateway.

    Args:
        url: of the gateway: any path below it.
        token: a bearer token without limits; or empty.
        now: seconds on a clock that only goes forward.
        seconds_ago: as the figures were then, or as near to it as the gateway remembers them.

    Raises:
        PipeGuardError: it does not answer, or not with figures.
    """
    query = f"?ago={seconds_ago:.0f}" if seconds_ago else ""
    body = fetch(url, f"/metrics{query}", token)
    try:
        return _read(body.decode(), now)
    except ValueError as error:
        raise PipeGuardError(f"{url} does not answer with figures: {error}") from None


def address_below(url: str, path: str) -> str:
    """The address of a path of a gateway.

    Args:
        url: of the gateway: any path below it.
        path: wanted.

    Raises:
        PipeGuardError: the first is no address.
    """
    address = urlsplit(url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise PipeGuardError(f"{url} is not an address: try http://127.0.0.1:8080.")
    return f"{address.scheme}://{address.netloc}{path}"


def fetch(url: str, path: str, token: str, patience_seconds: float = PATIENCE_SECONDS) -> bytes:
    """Fetch what a gateway answers at a path, with a bearer token or an empty one.

    Raises:
        PipeGuardError: it does not answer, or refuses.
    """
    whole = address_below(url, path)
    target = whole.partition("?")[0]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = Request(whole, headers=headers)  # noqa: S310  its scheme is checked above
        with build_opener(_NoRedirect).open(request, timeout=patience_seconds) as answer:
            body: bytes = answer.read(MOST_BYTES)
            return body
    except HTTPError as error:
        raise PipeGuardError(f"{target} answers {error.code}: {_explain(error, token)}") from None
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason: object = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            reason = f"{_UNTRUSTED} ({reason.verify_message})"
        elif isinstance(reason, ssl.SSLError):
            reason = NO_TLS
        if isinstance(reason, RemoteDisconnected | ConnectionResetError):
            reason = HUNG_UP
        if isinstance(reason, ConnectionRefusedError):
            reason = _NOBODY
        raise PipeGuardError(f"{target} does not answer: {reason}") from None


_NOBODY = "nothing listens there. Which gateways run here:  pipeguard status"
_UNTRUSTED = "its certificate is not trusted; SSL_CERT_FILE names a file with those that are"


def _explain(refused: HTTPError, token: str) -> str:
    if refused.code != HTTPStatus.UNAUTHORIZED:
        reason = challenge.read_reason(refused.read(REASON_BYTES))
        return f"{visible(reason)}." if reason else "is that the address of a gateway?"
    if not token:
        return "it needs a valid token: --token-env NAME."
    ended = challenge.read(refused.headers.get("WWW-Authenticate", "")).ended
    end = f": it ended at {ended}" if ended else ""
    return f"it refuses this token{end}.\n  {challenge.GATEWAY_HINT}"


def _read(text: str, now: float) -> Scrape:
    up, waiting = dict[str, bool](), dict[str, int]()
    blocked, held = defaultdict[str, int](int), defaultdict[str, int](int)
    calls: defaultdict[str, Buckets] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            server = labels.get("server", "")
            if name == PAST_AGE:
                now -= value
            elif name == UP:
                up[server] = value > 0
            elif name == WAITING:
                waiting[server] = int(value)
            elif name == VERDICTS and labels["action"] in ("block", "held"):
                (blocked if labels["action"] == "block" else held)[server] += int(value)
            elif name == f"{CALLS}_bucket":
                bound = float(labels["le"])
                calls[server][bound] = calls[server].get(bound, 0.0) + value
    return Scrape(now, up, waiting, blocked, held, calls)


def measure_activity(before: Scrape, after: Scrape) -> list[ServerActivity]:
    """Activity of each server between two looks."""
    seconds = max(after.time - before.time, 1e-9)
    activities = []
    for server, is_up in sorted(after.up.items()):
        calls = _less(after.calls.get(server, {}), before.calls.get(server, {}))
        activities.append(
            ServerActivity(
                server,
                "up" if is_up else "not up",  # it may still be starting
                calls.get(float("inf"), 0.0) / seconds,
                _quantile_ms(calls, 0.5),
                _quantile_ms(calls, 0.99),
                _more(after.blocked, before.blocked, server),
                _more(after.held, before.held, server),
                after.waiting.get(server, 0),
            )
        )
    return activities


def _more(after: Mapping[str, int], before: Mapping[str, int], server: str) -> int:
    """The growth of a count; all of it if the gateway began anew."""
    count, previous = after.get(server, 0), before.get(server, 0)
    return count - previous if count >= previous else count


def _less(after: Buckets, before: Buckets) -> Buckets:
    """The calls of `after` that are not in `before`; all of them if the gateway began anew."""
    if after.get(float("inf"), 0.0) < before.get(float("inf"), 0.0):
        return after
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def _quantile_ms(buckets: Buckets, share: float) -> float | None:
    """A quantile, with calls taken to be spread evenly within a bucket; None without calls.

    As `histogram_quantile` of Prometheus; what is beyond the last bound counts as that.
    """
    total = buckets.get(float("inf"), 0.0)
    if total <= 0:
        return None
    lower, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= share * total:
            if bound == float("inf"):
                break
            inside = (share * total - below) / max(count - below, 1e-9)
            return 1000 * (lower + (bound - lower) * inside)
        lower, below = bound, count
    return 1000 * lower
