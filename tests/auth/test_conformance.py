"""The official conformance suite on authorization, with `pipeguard auth` as a client."""

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
# With a star, one for each part of a flow; the others differ from them in what a server says at one
# step.
LISTED = Path(__file__).with_name("scenarios.txt").read_text().splitlines()
SCENARIOS = dict(line.partition(" ")[::2] for line in LISTED)


@cache
def suite() -> list[str]:
    package = npm_modules() / "@modelcontextprotocol" / "conformance"
    return [str(node()), str(package / "dist" / "index.js")]


def test_no_scenario_of_the_suite_is_left_out() -> None:
    listed = subprocess.run([*suite(), "list"], capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"auth/[\w-]+", listed)) == NOT_OURS | SCENARIOS.keys()


@pytest.mark.often("auth/scope-step-up", "auth/iss-wrong-issuer")
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(one, marks=() if star else pytest.mark.exhaustive)
        for one, star in SCENARIOS.items()
    ],
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
