"""The official conformance suite on authorization, with `pipeguard auth` for a client."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.tools import node, npm_modules

pytestmark = pytest.mark.real
CLIENT = Path(__file__).with_name("conformance.py")
SECONDS = 180  # only a failure takes so long
PATIENCE = ("--timeout", str(1000 * SECONDS))  # its own 30 s are few for a login on a busy machine
# Extensions, and what no revision has yet: flows without a person, tokens that are bound to a key.
NOT_OURS = {
    "auth/client-credentials-basic",
    "auth/client-credentials-jwt",
    "auth/dpop",
    "auth/dpop-nonce",
    "auth/enterprise-managed-authorization",
    "auth/wif-jwt-bearer",
}
# One for each part of a flow; the others differ from them in what a server says at one step.
OFTEN = {
    "auth/2025-03-26-oauth-endpoint-fallback",
    "auth/authorization-server-migration",
    "auth/basic-cimd",
    "auth/iss-wrong-issuer",
    "auth/pre-registration",
    "auth/scope-step-up",
}
SCENARIOS = (
    "auth/2025-03-26-oauth-endpoint-fallback",
    "auth/2025-03-26-oauth-metadata-backcompat",
    "auth/authorization-server-migration",
    "auth/basic-cimd",
    "auth/iss-normalized",
    "auth/iss-not-advertised",
    "auth/iss-supported",
    "auth/iss-supported-missing",
    "auth/iss-unexpected",
    "auth/iss-wrong-issuer",
    "auth/metadata-default",
    "auth/metadata-issuer-mismatch",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/offline-access-not-supported",
    "auth/offline-access-scope",
    "auth/pre-registration",
    "auth/resource-mismatch",
    "auth/scope-from-scopes-supported",
    "auth/scope-from-www-authenticate",
    "auth/scope-omitted-when-undefined",
    "auth/scope-retry-limit",
    "auth/scope-step-up",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-none",
    "auth/token-endpoint-auth-post",
)


@cache
def suite() -> list[str]:
    package = npm_modules() / "@modelcontextprotocol" / "conformance"
    return [str(node()), str(package / "dist" / "index.js")]


def test_no_scenario_of_the_suite_is_left_out() -> None:
    listed = subprocess.run([*suite(), "list"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"auth/[\w-]+", listed)) == NOT_OURS | set(SCENARIOS)


@pytest.mark.often("auth/scope-step-up", "auth/iss-wrong-issuer")
@pytest.mark.parametrize(
    "scenario",
    [one if one in OFTEN else pytest.param(one, marks=pytest.mark.exhaustive) for one in SCENARIOS],
)
def test_a_scenario_passes(scenario: str, tmp_path: Path) -> None:
    command = f"{sys.executable} {CLIENT}"
    done = subprocess.run(
        [*suite(), "client", "--command", command, "--scenario", scenario, *PATIENCE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"Passed: ([1-9]\d*)/\1, 0 failed, 0 warnings", done.stdout), done.stdout
