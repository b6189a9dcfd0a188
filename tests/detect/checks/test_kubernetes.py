"""Members of Kubernetes' secrets: where they stand, and what opens something."""

import pytest

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import run
from tests.detect.checks.outcomes import assert_fails, assert_holds

YAML = b"kind: Secret\nmetadata:\n  uid: 4711\n  name: orders\ndata:\n  dsn: c2VjcmV0\n"
SORTED = b"apiVersion: v1\ndata:\n  dsn: c2VjcmV0\nkind: Secret\nmetadata:\n  name: orders\n"
DEEPER = b"items:\n- kind: Secret\n  stringData:\n    a: b\n    dsn: c2VjcmV0\n"
JSON = b'{"data":{"a":"b","dsn":"c2VjcmV0"},"kind":"Secret","metadata":{"name":"orders"}}'

INSIDE = [
    (b"\n  dsn: c2VjcmV0", YAML),
    (b"\n  dsn: c2VjcmV0", SORTED),
    (b"\n    dsn: c2VjcmV0", DEEPER),
    (b',"dsn":"c2VjcmV0', JSON),
    (b'{"a":"b', JSON),
]
OUTSIDE = [
    (b"\n  name: orders", YAML),
    (b"\n  uid: 4711", YAML),
    (b"\n  dsn: c2VjcmV0", YAML.replace(b"kind: Secret", b"kind: ConfigMap")),
    (b"\n  dsn: c2VjcmV0", YAML.replace(b"kind: Secret", b"kind: SecretStore")),
    (b"\n  dsn: c2VjcmV0", b"kind: Secret\n---\nkind: ConfigMap\ndata:\n  dsn: c2VjcmV0\n"),
    (b"\n  dsn: c2VjcmV0", b"data:\n  dsn: c2VjcmV0\n---\nkind: Secret\n"),
    (b'{"name":"orders', JSON),
    (b"\n  other: 1", YAML),
    (b"dsn: c2VjcmV0", b"dsn: c2VjcmV0"),
]
HOLDS = [
    "{base64 {b62:12}#{b62:6}}",
    "{base64 {b62:32}}",
    "{bytes:32}",
    "{b62:12}#{b62:6}",
    "{base64 -----BEGIN PRIVATE{} KEY-----\nMIIE{b64:60}}",
    '{base64 {{"auths": {{"a.test": {{"auth": "{b62:20}"}}}}}}}',
]
FAILS = [
    "{base64 admin}",
    "{base64 changeme}",
    "{base64 password}",
    "{base64 orders.acme.test}",
    "{base64 -----BEGIN CERTIFICATE-----\nMIIE{b64:60}}",
    "true",
    "orders-production",
    "{bytes:8}",
]


@pytest.mark.parametrize(("member", "text"), INSIDE)
def test_a_member_of_the_data_of_a_secret_is_found(member: bytes, text: bytes) -> None:
    assert run("around-kubernetes", member + AROUND + text) is Outcome.HOLDS


@pytest.mark.parametrize(("member", "text"), OUTSIDE)
def test_what_is_not_in_the_data_of_a_secret_is_none(member: bytes, text: bytes) -> None:
    assert run("around-kubernetes", member + AROUND + text) is Outcome.FAILS


@pytest.mark.parametrize("recipe", HOLDS)
def test_a_value_that_opens_something_holds(recipe: str) -> None:
    assert_holds("kubernetes-value", recipe)


@pytest.mark.parametrize("recipe", FAILS)
def test_a_name_a_placeholder_or_a_certificate_fails(recipe: str) -> None:
    assert_fails("kubernetes-value", recipe)
