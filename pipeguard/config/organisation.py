"""The bundle of the organisation's policy that is in force.

What is read here has no signature checked: `bundle` does that before one is stored, and its file is
as well protected as the enrolment beside it, which has the key. Imports nothing that checks one.
"""

from __future__ import annotations

from contextlib import suppress
from time import time
from typing import TYPE_CHECKING

from pipeguard.config.enrolment import BUNDLES_FILE, Enrolment, is_there
from pipeguard.config.policy_file import DAY_SECONDS, PolicyFile, PolicyScope, parse_policy
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Layer
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

MAX_LINES = 1000  # of bundles: the newest, and those that changed keys
_MOST = 253_402_300_799  # the last second of the year 9999, and enough versions


class Bundle(NamedTuple):
    """The claims of a bundle (RFC 7519), checked for their form.

    Attributes:
        version: a number that only rises.
        iat: when it was made, in seconds since 1970.
        exp: when it ends, in the same; None for never.
        policy: the YAML of a policy that only tightens.
        approved: as in Policy.
        keys: the public keys, as JWKs (RFC 8037), that sign from now on; empty if they stay.
        after_expiry: `block` if no server may run once it has expired; `keep` if it stays in force.
    """

    version: int = 0
    iat: int = 0
    exp: int | None = None
    policy: str = ""
    approved: Sequence[str] = ()
    keys: Sequence[Mapping[str, object]] = ()
    after_expiry: str = "keep"

    def has_ended(self, now: float) -> bool:
        """True if it has expired, or the clock was set back to a day before it was made.

        Args:
            now: seconds since 1970.
        """
        is_over = self.exp is not None and now >= self.exp
        return is_over or now < self.iat - DAY_SECONDS

    def stops_all(self, now: float) -> bool:
        """True if it has ended, and no server may run since."""
        return self.after_expiry == "block" and self.has_ended(now)

    def to_file(self) -> PolicyFile:
        """Read its policy, in which nothing depends on the day.

        Raises:
            PolicyError: the policy is invalid, or loosens something.
        """
        from datetime import date

        scope = PolicyScope.ORGANISATION
        source = f"the organisation's policy (version {self.version})"
        file = parse_policy(self.policy, source, scope, today=date.min)
        if self.stops_all(time()):
            ended = f"{scope.origin}, which has expired,"
            file = file._replace(layer=Layer(servers_block=("*",), defaults=False, origin=ended))
        return file._replace(approved=frozenset(self.approved), has_ended=self.stops_all)


def read_bundle(enrolment: Enrolment) -> Bundle:
    """Read the bundle in force.

    Raises:
        PolicyError: there is none, or it cannot be read. Then nothing starts.
    """
    lines = read_lines(enrolment)
    if not lines:
        raise PolicyError(
            f"{enrolment.path} says that this machine follows an organisation's policy, and there"
            " is none yet.\n  Fetch it:  pipeguard policy follow --once"
        )
    try:
        return read_claims(lines[-1])
    except PolicyError as error:
        raise PolicyError(f"{enrolment.bundles_path}: {error}") from None


def read_lines(enrolment: Enrolment) -> list[str]:
    """Read the bundles that were accepted, the newest last; none without a file.

    Raises:
        PolicyError: they cannot be read, or somebody else could have written them.
    """
    if not is_there(enrolment.bundles_path):
        return []
    return enrolment.read(BUNDLES_FILE).splitlines()[-MAX_LINES:]


def read_part(token: str, number: int) -> dict[str, Any]:
    """Read one of the first parts of a compact JWS (RFC 7515, section 7.1), without its signature.

    Raises:
        PolicyError: it is no object.
    """
    from base64 import urlsafe_b64decode
    from json import loads

    part: object = None
    with suppress(ValueError, LookupError, RecursionError):
        part = loads(urlsafe_b64decode(f"{token.split('.', 2)[number]}==").decode())
    if not isinstance(part, dict):
        raise PolicyError("it is not a signed bundle.")
    return part


def read_claims(token: str) -> Bundle:
    """Read the claims of a compact JWS, whose signature is not checked.

    Raises:
        PolicyError: it is none, or a claim is missing or wrong.
    """
    claims = read_part(token, 1)
    for name, is_right in _CLAIMS.items():
        if not is_right(claims.get(name)):
            raise PolicyError(f"its claim `{name}` is missing or wrong.")
    given = {name: claims[name] for name in Bundle._fields if claims.get(name) is not None}
    return Bundle(**given)


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
    "keys": lambda value: value is None or _is_list(value, dict),
    "after_expiry": lambda value: value in (None, "keep", "block"),
}
