"""The bundle of the organisation's policy that is in force.

What is read here has no signature checked: `bundle` does that before one is stored, and its file is
as well protected as the enrolment beside it, which has the key. Imports nothing that checks one.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from pipeguard.config.enrolment import Enrolment, is_there
from pipeguard.config.policy_file import PolicyFile, PolicyScope, parse_policy
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Layer
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping
    from typing import Any

MAX_BUNDLE_BYTES = 4 * 2**20
MAX_BUNDLES_BYTES = 4 * MAX_BUNDLE_BYTES  # of the file: the newest, and those that changed keys
# A clock that is further behind the making of a bundle was set back.
SLOW_CLOCK_SECONDS = 86_400
_MOST = 253_402_300_799  # the last second of the year 9999, and enough versions


class Bundle(NamedTuple):
    """The claims of a bundle (RFC 7519), checked for their form.

    Attributes:
        version: a number that only rises.
        issued: when it was made, in seconds since 1970.
        expires: when it ends, in the same; None for never.
        policy: the YAML of a policy that only tightens.
        approved: as in Policy.
        keys: the public keys, as JWKs (RFC 8037), that sign from now on; empty if they stay.
        blocks_after: True if no server may run once it has expired; False if it stays in force.
    """

    version: int
    issued: int
    expires: int | None
    policy: str
    approved: frozenset[str]
    keys: tuple[Mapping[str, str], ...]
    blocks_after: bool

    def has_ended(self, now: float) -> bool:
        """True if it has expired, or the clock was set back before it was made.

        Args:
            now: seconds since 1970.
        """
        is_over = self.expires is not None and now >= self.expires
        return is_over or now < self.issued - SLOW_CLOCK_SECONDS

    def stops_all(self, now: float) -> bool:
        """True if it has ended, and no server may run since."""
        return self.blocks_after and self.has_ended(now)

    def to_file(self, *, now: float, today: datetime.date) -> PolicyFile:
        """Read its policy; `now` and `today` are as in `parse_policy`.

        Raises:
            PolicyError: the policy is invalid, or loosens something.
        """
        scope = PolicyScope.ORGANISATION
        source = f"the organisation's policy (version {self.version})"
        file = parse_policy(self.policy, source, scope, now=now, today=today)
        if self.stops_all(time()):
            ended = f"{scope.origin}, which has expired,"
            file = file._replace(layer=Layer(servers_block=("*",), defaults=False, origin=ended))
        return file._replace(approved=self.approved, has_ended=self.stops_all)


def read_bundle(enrolment: Enrolment) -> Bundle:
    """Read the bundle in force.

    Raises:
        PolicyError: there is none, or it cannot be read. Then nothing starts.
    """
    path = enrolment.bundles_path
    if not is_there(path):
        raise PolicyError(
            f"{enrolment.path} says that this machine follows an organisation's policy, and there"
            " is none yet.\n  Fetch it:  pipeguard policy follow --once"
        )
    lines = enrolment.read(path, MAX_BUNDLES_BYTES).splitlines()
    try:
        return read_claims(lines[-1] if lines else "")
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from None


def read_claims(token: str) -> Bundle:
    """Read the claims of a compact JWS (RFC 7515, section 7.1), whose signature is not checked.

    Raises:
        PolicyError: it is none, or a claim is missing or wrong.
    """
    from base64 import urlsafe_b64decode
    from json import loads

    try:
        _, payload, _ = token.split(".")
        claims = loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        raise PolicyError("it is not a signed bundle.") from None
    if not isinstance(claims, dict):
        raise PolicyError("it is not a signed bundle.")
    for name, is_right in _CLAIMS.items():
        if not is_right(claims.get(name)):
            raise PolicyError(f"its claim `{name}` is missing or wrong.")
    return Bundle(
        claims["version"],
        claims["iat"],
        claims.get("exp"),
        claims["policy"],
        frozenset(claims.get("approved") or ()),
        tuple(claims.get("keys") or ()),
        claims.get("after_expiry") == "block",
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= _MOST


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(each, kind) for each in value)


_CLAIMS: dict[str, Callable[[Any], bool]] = {
    "version": _is_count,
    "iat": _is_count,
    "exp": lambda value: value is None or _is_count(value),
    "policy": lambda value: isinstance(value, str),
    "approved": lambda value: value is None or _is_list(value, str),
    "keys": lambda value: value is None or (bool(value) and _is_list(value, dict)),
    "after_expiry": lambda value: value in (None, "keep", "block"),
}
