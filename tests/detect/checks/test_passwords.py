"""Common passwords, well-chosen ones, and those in secrets of Kubernetes."""

import pytest

from pipeguard.detect.checks.outcome import AROUND, Outcome
from pipeguard.detect.checks.registry import run
from tests.detect.checks.outcomes import assert_outcome, rows

CHOSEN = [
    "Kx9!trombone-{d:2}",
    "Winter-Sun-88{d:2}",
    "Trombone20{d:2}",
    "AES128-{b62:10}#{b62:4}",
    "{b62:10}#{b62:4}",
]
ENDS = ["", ".", "!", "?", ":", "**", "\u201d", "\u201d.", "\u3002"]  # of what contains one

HOLDS = [
    ("password", "{b62:14}"),
    ("password", "tr0ub{}4dor&3"),
    ("userinfo", "app:{b62:14}"),
    ("basic-auth", "{base64 acme:{b62:14}}"),
    *(("typed", f"{word}{end}") for word in CHOSEN for end in ENDS),
    ("kubernetes-value", "{base64 {b62:12}#{b62:6}}"),
    ("kubernetes-value", "{base64 {b62:32}}"),
    ("kubernetes-value", "{bytes:32}"),
    ("kubernetes-value", "{b62:12}#{b62:6}"),
    ("kubernetes-value", "{base64 -----BEGIN PRIVATE{} KEY-----\nMIIE{b64:60}}"),
    ("kubernetes-value", '{base64 {{"auths": {{"a.test": {{"auth": "{b62:20}"}}}}}}}'),
]

NOT_CHOSEN = [
    "ValidPass123",
    "P@ssw0rd",
    "Pbkdf2Sha256",
    "ops42@mail.example",
    "/tmp/build7.home",
    "ECDHE+AESGCM:DHE-RSA-AES256-SHA256",
]

FAILS = [
    ("password", "changeme"),
    ("password", "postgres"),
    ("password", "hunter2"),
    ("userinfo", "postgres:postgres"),
    ("userinfo", "user:passw"),
    ("userinfo", "app:%70ostgres"),
    ("basic-auth", "dXNlcjpwYXNz"),
    *(("typed", f"{word}{end}") for word in NOT_CHOSEN for end in ENDS),
    ("basic-auth", "{bytes:20}"),
    ("kubernetes-value", "{base64 admin}"),
    ("kubernetes-value", "{base64 changeme}"),
    ("kubernetes-value", "{base64 password}"),
    ("kubernetes-value", "{base64 orders.acme.test}"),
    ("kubernetes-value", "{base64 -----BEGIN CERTIFICATE-----\nMIIE{b64:60}}"),
    ("kubernetes-value", "true"),
    ("kubernetes-value", "orders-production"),
    ("kubernetes-value", "{bytes:8}"),
]

UNKNOWN = [("password", "short1")]


@rows(HOLDS, FAILS, UNKNOWN)
def test_a_check_has_its_answer(spec: str, recipe: str, outcome: Outcome) -> None:
    assert_outcome(spec, recipe, outcome)


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


@pytest.mark.parametrize(
    ("member", "text", "outcome"),
    [*((*row, True) for row in INSIDE), *((*row, False) for row in OUTSIDE)],
)
def test_a_member_of_the_data_of_a_kubernetes_secret(
    member: bytes, text: bytes, outcome: Outcome
) -> None:
    assert run("around-kubernetes", member + AROUND + text) is outcome
