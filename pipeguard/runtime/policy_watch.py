"""Follows the policy files and the calendar while a server runs, in a thread of its own.

Settings that apply to single messages take effect within a second: actions, exceptions and tools.
The rest (mode, trust, limits, drift, audit) is read when a server starts. An invalid file changes
nothing: the earlier one of that source stays in effect. A project's file relaxes nothing while a
server runs, because an agent may be able to write it. Of the machine's policy and the
organisation's, all but limits and flows takes effect at once. A file is read once it stays
unchanged: many programs empty it before they write it, and half of a policy blocks less than all of
it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Event
from time import monotonic, time
from typing import TYPE_CHECKING

from pipeguard.config.effective_policy import (
    combine_sources,
    require_valid,
    wrap_policy_paths,
)
from pipeguard.config.options import WrapOptions
from pipeguard.config.policy_file import ADMINISTERED, UNADMINISTERED, PolicyFile, PolicyScope
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.policy import Layer, Policy, PolicyTarget, Selector
from pipeguard.rulebook.policy_rules import read_sources

if TYPE_CHECKING:
    from pipeguard.state.finding_log import FindingLog

# Between two looks. A change seen at one and stable until the next applies in a second.
LOOK_SECONDS = 0.25
SLEPT_SECONDS = 1.0  # at least; the two clocks drift a little while a machine is awake
PATIENCE_LOOKS = 3  # after which a file that somebody changes all the time is read all the same
MOST_COMPARED = 500  # entries and globs; the time rises by their square
Stamp = tuple[object, ...]
CHANGED = "the policy has changed and"  # begins each line about the files


class PolicyWatch:
    """The policy of one run, as its files define it now.

    Attributes:
        policy: the one that applies.
    """

    def __init__(self, options: WrapOptions) -> None:
        """Read the policy.

        Args:
            options: of the run; they name the files.

        Raises:
            PolicyError: an option or a file is invalid.
        """
        self._options = options
        self._adjusted: Callable[[Policy], Policy] = lambda policy: policy
        self._files = dict[PolicyScope, PolicyFile]()
        self._stamps = self._look()  # before they are read, so that no change is missed
        self._errors = dict[PolicyScope, str]()  # in the files, as they were read last
        self._began = self._files = require_valid(read_sources(options))
        self.policy = combine_sources(self._files)
        self._offset = time() - monotonic()  # of the clock for the end of exceptions

    def adjust(self, adjusted: Callable[[Policy], Policy]) -> None:
        """Adjust the policy for this server, now and after each change."""
        self._adjusted = adjusted
        self.policy = adjusted(self.policy)

    def follow(self, adopt: Callable[[Policy], None], log: FindingLog, is_over: Event) -> None:
        """Check the files repeatedly until the run is over.

        Args:
            adopt: takes a policy over.
            log: for people.
            is_over: set once the run ends.
        """
        seen, waited = dict(self._stamps), dict.fromkeys(self._stamps, 0)
        while not is_over.wait(LOOK_SECONDS):
            slept = time() - monotonic() - self._offset  # seconds that the sessions' clock missed
            if abs(slept) >= SLEPT_SECONDS:
                # Exceptions end on a clock that stops while the machine sleeps.
                self._offset += slept
                self._stamps[UNADMINISTERED] = ()
            last, seen = seen, self._look()
            # An administrator's files by themselves: to read a user's may take seconds.
            for scopes, stamp in seen.items():
                if stamp == self._stamps[scopes]:
                    waited[scopes] = 0
                    continue
                waited[scopes] += 1
                is_late = waited[scopes] % PATIENCE_LOOKS == 0
                is_due = is_late or stamp == last[scopes]
                if is_due and self._read_again(scopes, log, stamp, is_still=not is_late):
                    adopt(self.policy)

    def _look(self) -> dict[frozenset[PolicyScope], Stamp]:
        """Fingerprints of each group's files, and of what time makes of them."""
        bundle = self._files.get(PolicyScope.ORGANISATION, PolicyFile())
        has_ended = bundle.has_ended(time())
        return {
            scopes: (has_ended, *map(stamp_file, paths))
            for scopes, paths in wrap_policy_paths(self._options).items()
        }

    def _read_again(
        self, scopes: frozenset[PolicyScope], log: FindingLog, stamp: Stamp, *, is_still: bool
    ) -> bool:
        """Apply the present content of files; False if none is valid, or they are being written.

        An error in one file does not keep the changes of the others from applying.
        """
        read = read_sources(self._options, scopes)
        if is_still and self._look()[scopes] != stamp:
            return False
        errors = {scope: str(file) for scope, file in read.items() if isinstance(file, PolicyError)}
        # An administrator's is read until it is right: perhaps no file can be opened now.
        self._stamps[scopes] = () if errors and scopes is ADMINISTERED else stamp
        replaced = scopes - errors.keys()
        files = {scope: file for scope, file in self._files.items() if scope not in replaced}
        files |= {scope: file for scope, file in read.items() if isinstance(file, PolicyFile)}
        for scope, why in errors.items():
            if self._errors.get(scope) != why:
                what = "has an error: the earlier policy stays in effect"
                log("error", f"{CHANGED} {what}", why=why)
        self._errors |= dict.fromkeys(scopes, "") | errors
        if errors and files == self._files:
            return False
        self._files = files
        self._adopt(log, is_whole=not errors)
        return True

    def _adopt(self, log: FindingLog, *, is_whole: bool) -> None:
        """Put the files in force, as far as they apply while a server runs."""
        read, began = combine_sources(self._files), self._began.get(PolicyScope.PROJECT)
        kept = () if began is None or began.layer in read.layers else (began.layer,)
        now = self._adjusted(read._replace(layers=read.layers + kept))
        administered = {scope: self._files[scope] for scope in ADMINISTERED & self._files.keys()}
        own = {scope: file for scope, file in self._began.items() if scope not in ADMINISTERED}
        settings = self._adjusted(combine_sources({**own, **administered}))
        before, self.policy = self.policy, settings._replace(layers=now.layers)
        self._offset = time() - monotonic()
        if is_whole and (kept or now != self.policy):
            late = "mode, trust, drift, limits, audit, and what a project's file takes back"
            do = f"restart the server for {late}"
            what = "part of it applies only after a restart"
            log("warning", f"{CHANGED} {what}", do=do)
        new, old = _difference(before.layers, now.layers)
        log("info", f"{CHANGED} takes effect", exceptions_added=new, exceptions_removed=old)


def stamp_file(path: str) -> Stamp:
    """The path, number, times and size of a file; the path alone if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return (path,)
    return path, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def loosens(now: Policy, before: Policy) -> bool:
    """True if a finding, or a call of a tool, may pass more easily than by an earlier policy.

    Tried with the gravest and the slightest finding that each entry is for: a glob fits itself.
    """
    changed = {*now.layers} ^ {*before.layers}
    wheres = {Selector(), *(entry.where for layer in changed for entry in layer.actions)}
    tools = {"*"}.union(*(x.tools_allow + x.tools_block + x.tools_ask for x in changed))
    if len(wheres) + len(tools) > MOST_COMPARED:
        return True
    for where in wheres:
        names = where.place, where.server, where.tool
        least = where.severity or Severity.INFO, where.confidence or Confidence.LOW
        for severity, confidence in ((Severity.CRITICAL, Confidence.HIGH), least):
            target = PolicyTarget(where.rule, severity, confidence, *names, is_call=True)
            if now.action(target, 0.0) < before.action(target, 0.0):
                return True
    frees = any(now.freedom(tool) > before.freedom(tool) for tool in tools)
    return frees or _difference(before.layers, now.layers)[0] > 0


def _difference(before: tuple[Layer, ...], now: tuple[Layer, ...]) -> tuple[int, int]:
    """Count the exceptions that were added and removed."""
    old = {exempt.where for layer in before for exempt in layer.exceptions}
    new = {exempt.where for layer in now for exempt in layer.exceptions}
    return len(new - old), len(old - new)
