"""Forged, replayed, rolled back, truncated and swapped bundles: the last good one stays."""

import hmac
import json
from pathlib import Path
from time import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from pipeguard.config.enrolment import Enrolment
from pipeguard.config.following import describe_following, refresh
from pipeguard.errors import PipeGuardError
from tests.bundles import Signer, Site, join
from tests.each import each

DAY = 86_400
ONE, OTHER = Signer(), Signer()
GOOD = ONE.sign(2)
NEXT = ONE.sign(3)
SIGNED, _, SIGNATURE = NEXT.rpartition(".")
SIGN = ONE.private.sign
HEADER, CLAIMS = json.dumps(ONE.header), json.dumps(ONE.claims(3))
FORM = "truncated, or its Base64 is not canonical"


def mac(signed: bytes) -> bytes:
    return hmac.digest(json.dumps(ONE.jwk).encode(), signed, "sha256")


def spell_otherwise(token: str) -> str:
    """Change the last character's bits that stand for nothing."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) + 1]


FORGED: dict[str, tuple[str, str]] = {
    "another key": (OTHER.sign(), "is not one that may sign"),
    "another key under our name": (OTHER.sign_as(kid=ONE.jwk["kid"]), "signature is wrong"),
    "Ed448": (join(ONE.header, CLAIMS, Ed448PrivateKey.generate().sign), "signature is wrong"),
    "none": (join({**ONE.header, "alg": "none"}, CLAIMS, lambda _: b""), "wrong `alg`"),
    "HMAC by the public key": (join({**ONE.header, "alg": "HS256"}, CLAIMS, mac), "wrong `alg`"),
    "RS256": (ONE.sign_as(alg="RS256"), "wrong `alg`"),
    "small letters": (ONE.sign_as(alg="eddsa"), "wrong `alg`"),
    "no algorithm": (ONE.sign_as(alg=None), "wrong `alg`"),
    "a token of a login": (ONE.sign_as(typ="JWT"), "wrong `typ`"),
    "no type": (ONE.sign_as(typ=None), "wrong `typ`"),
    "no key": (ONE.sign_as(kid=None), "wrong `kid`, or lacks it"),
    "a number as key": (ONE.sign_as(kid=1), "its key 1 is not one that may sign"),
    "critical": (ONE.sign_as(crit=["exp"]), "wrong `crit`"),
    "not encoded": (ONE.sign_as(b64=False), "wrong `b64`"),
    "its own key": (OTHER.sign_as(jwk=OTHER.jwk), "wrong `jwk`"),
    "a key elsewhere": (OTHER.sign_as(jku="https://evil.example/"), "wrong `jku`"),
    "a certificate": (OTHER.sign_as(x5u="https://evil.example/"), "wrong `x5u`"),
    "a name with control characters": (ONE.sign_as(**{"\x1b[2J\n": 1}), "wrong `⟨U+001B⟩"),
    "an algorithm twice": (
        join(f"{HEADER[:-1]}, {HEADER[1:]}", CLAIMS, SIGN),
        "strict JSON (duplicate-key)",
    ),
    "a list as header": (join([1], CLAIMS, SIGN), "wrong `alg`"),
    "a claim twice": (
        ONE.sign_as(CLAIMS.replace("{", '{"version": 9, ', 1)),
        "strict JSON (duplicate-key)",
    ),
    "changed claims": (f"{ONE.sign(9).rpartition('.')[0]}.{SIGNATURE}", "signature is wrong"),
    "swapped signatures": (f"{SIGNED}.{GOOD.rpartition('.')[2]}", "signature is wrong"),
    "no signature": (f"{SIGNED}.", "signature is wrong"),
    "truncated by one": (NEXT[:-1], FORM),
    "truncated to its claims": (SIGNED, "one compact JWS"),
    "empty": ("", "one compact JWS"),
    "a line end": (f"{NEXT}\n", FORM),
    "two lines": (f"{NEXT}\n{NEXT}", FORM),
    "a blank": (f" {NEXT}", FORM),
    "a mark of UTF-8": (f"\ufeff{NEXT}", FORM),
    "padding": (f"{NEXT}==", FORM),
    "another spelling": (spell_otherwise(NEXT), FORM),
    "a second signature": (f"{NEXT}.{SIGNATURE}", "one compact JWS"),
    "a JWS in JSON": (json.dumps({"payload": CLAIMS, "signatures": []}), FORM),
    "a page": ("<!DOCTYPE html><title>Log in</title>", FORM),
    "a binary number": (ONE.sign(version=True), "`version`"),
    "a decimal number": (ONE.sign_as(CLAIMS.replace(" 3,", " 3.0,")), "`version`"),
    "a negative number": (ONE.sign(-1), "`version`"),
    "a huge number": (ONE.sign(10**18), "`version`"),
    "5,000 digits": (ONE.sign_as(CLAIMS.replace(" 3,", f"{'3' * 5000},")), "not a signed bundle"),
    "a text as number": (ONE.sign("3"), "`version`"),
    "no number": (ONE.sign(None), "`version`"),
    "a lower version": (ONE.sign(1), "its version 1 is lower than 2, now in force"),
    "the same version": (ONE.sign(2, policy=""), "version 2 is in force already, with other words"),
    "expired": (ONE.sign(exp=int(time()) - 1), "expired"),
    "of tomorrow": (ONE.sign(iat=int(time()) + 2 * DAY), "clock of this machine"),
    "without end": (ONE.sign(exp=2**53), "`exp`"),
    "no keys": (ONE.sign(keys=[]), "`keys`"),
    "a private key": (ONE.sign(keys=[{**ONE.jwk, "d": ONE.jwk["x"]}]), "private key"),
    "a key of RSA": (ONE.sign(keys=[{"kty": "RSA", "n": "AQAB"}]), "not an Ed25519 key"),
    "a short key": (ONE.sign(keys=[{**ONE.jwk, "x": "AQAB"}]), "not an Ed25519 key"),
    "a key with a blank": (ONE.sign(keys=[{**ONE.jwk, "x": f"{ONE.jwk['x']} "}]), FORM),
    "loose": (ONE.sign(policy="mode: observe"), "`observe` loosens"),
    "of a newer PipeGuard": (ONE.sign(policy="quarantine: all"), "quarantine: unknown key"),
    "not YAML": (ONE.sign(policy="{"), "not valid YAML"),
    "no text": (ONE.sign(policy=1), "`policy`"),
    "no list": (ONE.sign(approved="*"), "`approved`"),
    "neither word": (ONE.sign(after_expiry="never"), "`after_expiry`"),
    "a list": (ONE.sign_as([1]), "not a signed bundle"),
    "not a number": (ONE.sign_as(CLAIMS.replace(" 3,", " NaN,")), "strict JSON (invalid-json)"),
    "nested": (ONE.sign_as("[" * 100_000), "not strict JSON"),
}


@pytest.fixture
def enrolment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enrolment:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("pipeguard.config.enrolment.system_folder", lambda: str(tmp_path / "no"))
    (tmp_path / "pipeguard").mkdir(0o700)
    return Enrolment(str(tmp_path / "pipeguard/follow.yaml"), is_managed=False)


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
            following = describe_following()
            assert following
            assert (following.version, following.is_valid) == (2, True)
            assert following.problem == f"the last fetch failed: {refused.value}"

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
    following = describe_following()
    assert following
    assert (following.kid, following.is_valid) == (third.jwk["kid"], True)
    Path(enrolment.path).write_text(Signer().follow(site.url))
    following = describe_following()
    assert following
    assert (following.version, following.kid, following.is_valid) == (7, "", False)
    assert following.problem.startswith("version 7 does not verify: its key ")


def test_a_thumbprint_is_that_of_the_standard() -> None:
    """RFC 8037, appendix A.3."""
    from pipeguard.config.bundle import read_key

    jwk = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    assert read_key(jwk)[0] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
