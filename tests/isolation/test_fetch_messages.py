"""The one line that says why a package could not be fetched. isolation/fetch_messages.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.isolation.fetch_messages import MOST_CHARS, find_reason
from tests.each import each

NPM = """npm error code E404
npm error 404 Not Found - GET https://registry.example/no-such-package
npm error 404
npm error 404  The requested resource 'no-such-package@*' could not be found or you do not have
npm error 404 Note that you can also install from a
npm error 404 tarball, folder, http url, or git url.
npm error A complete log of this run can be found in: /home/kim/.npm/_logs/debug-0.log
"""
VERSION = """npm error code ETARGET
npm error notarget No matching version found for left-pad@99.0.0.
npm error notarget In most cases you or one of your dependencies are requesting a package version
"""
NETWORK = """npm ERR! code ENOTFOUND
npm ERR! syscall getaddrinfo
npm ERR! errno ENOTFOUND
npm ERR! network request to https://registry.example/a failed, reason: getaddrinfo ENOTFOUND
npm ERR! network This is a problem related to network connectivity.
"""
UV = """error: No solution found when resolving dependencies
  cause: Because there is no version of six==99 and you require six==99, we can conclude that
"""
PIP = """WARNING: Retrying
ERROR: Could not find a version that satisfies the requirement nothing (from versions: none)
ERROR: No matching distribution found for nothing
"""
REASONS = {
    NPM: "404 Not Found - GET https://registry.example/no-such-package",
    VERSION: "No matching version found for left-pad@99.0.0.",
    NETWORK: "request to https://registry.example/a failed, reason: getaddrinfo ENOTFOUND",
    UV: "Because there is no version of six==99 and you require six==99, we can conclude that",
    PIP: "No matching distribution found for nothing",
    "Segmentation fault\n\n": "Segmentation fault",
    "": "",
}  # fmt: skip


@each("said", list(REASONS))
def test_the_line_that_matters_is_told(said: str) -> None:
    assert find_reason(said) == REASONS[said]


@given(st.text())
def test_of_any_text_it_is_one_line(said: str) -> None:
    reason = find_reason(said)
    assert len(reason) <= MOST_CHARS
    assert len(reason.splitlines()) <= 1
