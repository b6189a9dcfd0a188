"""Checks by the names that rules give them: checksum, encoding, entropy, placeholder, address.

A rule's `require` keeps a match only if the check HOLDS. Its `check` raises confidence if it HOLDS,
lowers it if it FAILS and leaves it if it is UNKNOWN. A failing checksum does not prove innocence,
because whoever steers an agent can have one character changed; so a rule whose form is sufficient
proof writes `only-raise github-crc`, for which FAILS counts as UNKNOWN. A rule that drops only
hopeless matches requires `not-fails password`, for which UNKNOWN counts as HOLDS.

Checks are pure functions of bytes. None raises, whatever the bytes, and each takes time linear in
them. Knows no rules, places or messages.
"""

from functools import cache, lru_cache, partial

from pipeguard.detect.checks.outcome import Check, Checks, ChecksWithArgument, Outcome
from pipeguard.errors import RuleError
from pipeguard.unicode.display import suggestion

NAME_CHECK = "name-"  # prefix of the checks of a secret's name
AROUND_CHECK = "around-"  # and of the checks of a match, AROUND, and the text around it
AROUND_BYTES = 4096  # before a match and after it
KEPT_BYTES = 512  # of a secret whose outcomes are cached
_READ_WORDS = frozenset(
    ("basic-auth", "kubernetes-value", "password", "random", "typed", "userinfo")
)


# An argument of each check that takes one.
EXAMPLES = {
    "entropy": "3.5",
    "base64-bytes": "32",
    "json-keys": "a t s",
    "jwt-claim": "role=admin",
    "jwt-not": "role=anon",
    "host": "metadata",
    "number": "us-ssn",
    "only-raise": "github-crc",
    "not-fails": "password",
}


def find_spec_error(spec: str) -> str:
    """Describe the error in a check's name or its argument; empty if there is none."""
    try:
        _find(spec)
    except RuleError as error:
        return str(error)
    return ""


def measures_randomness(spec: str) -> bool:
    """True for a check that a made-up value of the right form fails."""
    return spec.removeprefix("not-fails ").startswith(("entropy", "random", "not-identifier"))


@lru_cache(1024)
def cheapest_first(specs: tuple[str, ...]) -> tuple[str, ...]:
    """Checks that all have to hold, in the order that rejects a failing text at the least cost."""
    return tuple(sorted(specs, key=_cost))


def _cost(spec: str) -> int:
    """0 for a check of only a secret, 1 for one of its surroundings, 2 for one of all its words.

    Only outcomes that depend on nothing but the secret are cached.
    """
    name = spec.removeprefix("not-fails ").removeprefix("only-raise ").partition(" ")[0]
    return 2 if name in _READ_WORDS else int(name.startswith(AROUND_CHECK))


def run(spec: str, secret: bytes) -> Outcome:
    """Run one check on a secret.

    Args:
        spec: the check's name and its argument, as `entropy 3.5`.
        secret: the bytes that the rule's pattern took for a secret.

    Raises:
        RuleError: the spec names no check; `find_spec_error` reports it when a rule is loaded.
    """
    return _outcome(spec, secret) if len(secret) <= KEPT_BYTES else _find(spec)(secret)


@lru_cache(1024)  # several rules run the same check on a secret, in several readings
def _outcome(spec: str, secret: bytes) -> Outcome:
    return _find(spec)(secret)


@lru_cache(512)
def _find(spec: str) -> Check:
    name, _, argument = spec.strip().partition(" ")
    if not argument and name in EXAMPLES:
        raise RuleError(f"check `{name}` needs an argument, as `{name} {EXAMPLES[name]}`")
    if name == "only-raise":
        check = _find(argument)
        return lambda secret: check(secret) or None
    if name == "not-fails":
        check = _find(argument)
        return lambda secret: check(secret) is not False
    if argument and name in checks():
        raise RuleError(f"check `{name}` takes no argument, as `{argument}`")
    if name in checks():
        return checks()[name]
    if name not in EXAMPLES:
        names = sorted((*checks(), *EXAMPLES))
        near = suggestion(name, names, listed=True) or f"\n  Available: {', '.join(names)}"
        raise RuleError(f"unknown check `{name}`.{near}")
    try:
        return _checks_with_argument()[name](argument)
    except ValueError as error:
        what = f"check `{spec}`: {error}. As an example: `{name} {EXAMPLES[name]}`"
        raise RuleError(what) from error


# The modules are imported at the first check: many sessions see no secret.


@cache
def checks() -> Checks:
    """The checks without an argument, by name."""
    from pipeguard.detect.checks import (
        benign_commands,
        checksums,
        host_labels,
        passwords,
        randomness,
        readable,
        tokens,
        unseen,
    )

    return {
        **benign_commands.CHECKS,
        **checksums.CHECKS,
        **host_labels.CHECKS,
        **passwords.CHECKS,
        **randomness.CHECKS,
        **readable.CHECKS,
        **tokens.CHECKS,
        **unseen.CHECKS,
    }


@cache
def _checks_with_argument() -> ChecksWithArgument:
    from pipeguard.detect.checks import randomness, tokens

    return {**randomness.WITH_ARGUMENT, **tokens.WITH_ARGUMENT, "host": _host, "number": _number}


def _host(argument: str) -> Check:
    """`host metadata`: the text after `//` in an address reaches one of `url_hosts.QUESTIONS`."""
    from pipeguard.detect.checks import url_hosts  # 4 ms

    if argument not in url_hosts.QUESTIONS:
        raise ValueError(f"a host is one of {', '.join(url_hosts.QUESTIONS)}")
    return lambda secret: url_hosts.reaches(secret, argument)


def _number(argument: str) -> Check:
    """`number us-ssn`: a number of that kind that is well-formed."""
    from pipeguard.detect.checks import personal_numbers

    if argument == "telling":  # without a name next to it
        return personal_numbers.is_telling
    if argument not in personal_numbers.NUMBERS:
        near = suggestion(argument, personal_numbers.NUMBERS, listed=True)
        kinds = near or f" Available: telling, {', '.join(personal_numbers.NUMBERS)}"
        raise ValueError(f"no kind of number is called {argument}.{kinds}")
    return partial(personal_numbers.is_number, argument)
