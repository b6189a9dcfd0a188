"""Follows the policy files and the calendar while a server runs, in a thread of its own.

Settings that apply to single messages take effect within a second: actions, exceptions and tools.
The rest (mode, trust, limits, drift, audit) is read when a server starts. An invalid file changes
nothing: the earlier policy stays in effect. A project's file relaxes nothing while a server runs,
because an agent may be able to write it. A file is read once it stays unchanged: many programs
empty it before they write it, and half of a policy blocks less than all of it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from threading import Event, Lock
from time import monotonic, time
from typing import TYPE_CHECKING

from pipeguard.config.effective_policy import wrap_policy_paths
from pipeguard.config.options import WrapOptions
from pipeguard.errors import PolicyError
from pipeguard.firewall.finding import Confidence, Severity
from pipeguard.firewall.policy import Layer, Policy, PolicyTarget, Selector
from pipeguard.rulebook.policy_rules import load_wrap_policy

if TYPE_CHECKING:
    from pipeguard.state.finding_log import FindingLog

# Between two looks. A change seen at one and stable until the next applies in a second.
LOOK_SECONDS = 0.25
SLEPT_SECONDS = 1.0  # at least; the two clocks drift a little while a machine is awake
PATIENCE_LOOKS = 3  # after which a file that somebody changes all the time is read all the same
Stamp = tuple[tuple[str, int, int, int, int], ...]
CHANGED = "the policy has changed and"  # begins each line about the files
_LOGGED = deque[object](maxlen=9)  # the last such lines: a gateway's servers see the same change
_LOCK = Lock()


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
        self._stamp = self._look()  # before it is read, so that no change is missed
        self.policy = load_wrap_policy(options)
        self._project_began = self._project = self.policy.layers[1:]
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
        seen, restless = self._stamp, 0
        while not is_over.wait(LOOK_SECONDS):
            last, seen = seen, self._look()
            restless = 0 if seen == last else restless + 1
            slept = time() - monotonic() - self._offset  # seconds that the sessions' clock missed
            is_due = seen != self._stamp and restless in (0, PATIENCE_LOOKS)
            if is_due and self._read_again(log, seen, is_still=not restless):
                adopt(self.policy)
            elif self.policy.ends and abs(slept) >= SLEPT_SECONDS:
                # Frames are judged by a clock that stops while the machine sleeps.
                self._offset += slept
                self.policy = self.policy.sooner(slept)
                adopt(self.policy)
            restless %= PATIENCE_LOOKS

    def _look(self) -> Stamp:
        """A fingerprint of the files."""
        stamps = []
        for path in wrap_policy_paths(self._options):
            try:
                status = os.stat(path)
            except OSError:
                stamps.append((path, 0, 0, 0, 0))
            else:
                times = status.st_mtime_ns, status.st_ctime_ns
                stamps.append((path, status.st_ino, *times, status.st_size))
        return tuple(stamps)

    def _read_again(self, log: FindingLog, stamp: Stamp, *, is_still: bool) -> bool:
        """Apply the files' present content; False if they are invalid, or are being written."""
        read, error = self._load()
        if is_still and self._look() != stamp:
            return False
        self._stamp = stamp
        if error is not None:
            what = "has an error: the earlier policy stays in effect"
            self._log_once(log, "error", what, why=str(error))
        if read is None:
            return False
        if error is None:
            self._project = read.layers[1:]
        kept = self._project_began if error is None else self._project_began + self._project
        kept = tuple(layer for layer in dict.fromkeys(kept) if layer not in read.layers)
        now = self._adjusted(read._replace(layers=read.layers + kept))
        before, self.policy = self.policy, self.policy._replace(layers=now.layers)
        self._offset = time() - monotonic()
        if error is None and (kept or now != self.policy):
            late = "mode, trust, drift, limits, audit, and what a project's file takes back"
            do = f"restart the server for {late}"
            what = "part of it applies only after a restart"
            self._log_once(log, "warning", what, do=do)
        new, old = _difference(before.layers, now.layers)
        self._log_once(log, "info", "takes effect", exceptions_added=new, exceptions_removed=old)
        return True

    def _log_once(self, log: FindingLog, level: str, what: str, **fields: object) -> None:
        """Log a change, unless another server of this process did."""
        line = (self._stamp, what, *fields.values())
        with _LOCK:
            if line in _LOGGED:
                return
            _LOGGED.append(line)
        log(level, f"{CHANGED} {what}", **fields)

    def _load(self) -> tuple[Policy | None, PolicyError | None]:
        """The policy in the files, None if the user's file is invalid; and the error, if any.

        An error in a project's file does not keep the user's changes from applying.
        """
        try:
            return load_wrap_policy(self._options), None
        except PolicyError as error:
            try:
                return load_wrap_policy(self._options, with_project=False), error
            except PolicyError as users:
                return None, users


def loosens(now: Policy, before: Policy) -> bool:
    """True if a finding, or a call of a tool, passes more easily than by an earlier policy.

    Tried with the gravest and the slightest finding that each entry is for: a glob fits itself.
    """
    both = (*now.layers, *before.layers)
    for where in {Selector(), *(entry.where for layer in both for entry in layer.actions)}:
        names = where.place, where.server, where.tool
        least = where.severity or Severity.INFO, where.confidence or Confidence.LOW
        for severity, confidence in ((Severity.CRITICAL, Confidence.HIGH), least):
            target = PolicyTarget(where.rule, severity, confidence, *names, is_call=True)
            if now.action(target, 0.0) < before.action(target, 0.0):
                return True
    tools = {"*"}.union(*(x.tools_allow + x.tools_block + x.tools_ask for x in both))
    frees = any(now.freedom(tool) > before.freedom(tool) for tool in tools)
    return frees or _difference(before.layers, now.layers)[0] > 0


def _difference(before: tuple[Layer, ...], now: tuple[Layer, ...]) -> tuple[int, int]:
    """Count the exceptions that were added and removed."""
    old = {exempt.where for layer in before for exempt in layer.exceptions}
    new = {exempt.where for layer in now for exempt in layer.exceptions}
    return len(new - old), len(old - new)
