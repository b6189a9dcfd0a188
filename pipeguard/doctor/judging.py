"""Checks of the parts that judge: the scan engine, the rules and their cache, the policy."""

import shlex
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter

from pipeguard.clients.machine import Machine
from pipeguard.config.directories import (
    CACHE_DIR_VARIABLE,
    Trusted,
    cache_folder,
    closing_command,
    other_writer,
)
from pipeguard.config.effective_policy import find_policies
from pipeguard.config.policy_file import ADMINISTERED, PolicyScope
from pipeguard.doctor.diagnosis import Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.doctor.policies import list_notes, read_policy
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode
from pipeguard.installation import INSTALL_AGAIN
from pipeguard.native import find_native
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.runtime.progress import wait_for_engines
from pipeguard.unicode.display import pluralize

# Parts that run slower if they were not compiled.
NATIVE = {
    "the opener": "detect.model._opener",
    "the classifiers": "detect.model._classifier",
    "the parser of frames": "firewall.protocol._strict_json",
    "the layout of texts": "detect.text._layout",
    "the search for signs": "detect.matching._signs",
    "the comparison of results with calls": "detect.model._overlap",
    "the network": "detect.model._network",
}
ENGINE_MISSING = 3  # EngineError.exit_code: nothing can be judged, so nothing passes


def engine(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that the scan engine is installed, and finds a pattern."""
    try:
        import hyperscan
    except ImportError:
        yield wrong(
            "the scan engine (hyperscan) is missing, so nothing can be judged and nothing passes; "
            "it has wheels for Linux and macOS on x86-64 and ARM, and for Windows on x86-64",
            INSTALL_AGAIN,
        )
        return
    database = hyperscan.Database()
    database.compile(expressions=[b"needle"], ids=[7], flags=[0])
    seen: list[int] = []
    database.scan(b"a needle in hay", match_event_handler=lambda id_, *_: seen.append(id_))
    if seen == [7]:
        yield good(f"hyperscan {getattr(hyperscan, '__version__', '')}")
    else:
        yield wrong("the scan engine misses a word in a test text", INSTALL_AGAIN)
    if slow := [part for part, name in NATIVE.items() if find_native(name) is None]:
        yield note(
            f"not compiled, so slower: {', '.join(slow)}. There was no C compiler when PipeGuard"
            " was installed",
            INSTALL_AGAIN,
        )


def rules(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that the rules are valid, load, and find their own samples."""
    from pipeguard.detect.scanning.rule_groups import choose_engine
    from pipeguard.rulebook.proof import confidences
    from pipeguard.rulebook.samples import texts

    packs = sources()
    chosen = load_rules(packs)
    begun = perf_counter()
    ready = wait_for_engines(packs)
    seconds = perf_counter() - begun
    by_surface = {engine.surface: engine for engine in ready}
    first = {rule.pack: rule for rule in reversed(chosen)}  # of each pack
    for pack, rule in sorted(first.items()):
        surface = choose_engine(rule, min(rule.surfaces, key=lambda surface: surface.value))
        if not confidences(rule, by_surface[surface], surface, texts(rule.matches[0])[0]):
            yield wrong(f"the pack {pack} does not find its own sample", "pipeguard rules test")
            return
    own = sum(not pack.shipped for pack in packs)
    what = f"{len(chosen)} rules in {len(packs)} packs" + (f", {own} of them yours" if own else "")
    yield good(f"{what}, ready in {seconds:.1f} s")


def cache(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that compiled rules can be stored, so that a server starts at once."""
    folder = Path(cache_folder())
    slow = "so each start compiles the rules, which takes longer than some clients wait"
    elsewhere = f"Name a folder of yours in {CACHE_DIR_VARIABLE}."
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        yield wrong(f"{folder} is not writable ({why}), {slow}", elsewhere)
        return
    status = folder.stat()
    if who := other_writer(status, Trusted.ONLY_US):
        fix = closing_command(str(folder), status, Trusted.ONLY_US)
        yield wrong(f"{who} could write to {folder}, so it is not used, {slow}", fix)
    else:
        yield good(str(folder))


def policy(_machine: Machine) -> Iterable[Diagnosis]:
    """Check the policy files: an invalid one keeps every server from starting."""
    files = find_policies()
    if not any(files.values()):
        yield good("none, so the defaults apply")
    for scope, path in files.items():
        if path is not None:
            yield from _policy_file(path, scope)


CHECKS = (
    InstallationCheck("engine", "scan engine", engine, exit_code=ENGINE_MISSING),
    InstallationCheck("rules", "rules", rules, needs="engine"),
    InstallationCheck("cache", "rules' cache", cache, needs="rules"),
    InstallationCheck("policy", "policy", policy),
)


def _policy_file(path: str, scope: PolicyScope) -> Iterator[Diagnosis]:
    fix = "pipeguard policy check"
    if scope not in ADMINISTERED:
        flag = " --project" if scope is PolicyScope.PROJECT else ""
        fix += f"{flag} {shlex.quote(path)}"
    try:
        read = read_policy(path, scope)
    except PolicyError as error:
        head, *each = (" ".join(line.split()) for line in str(error).splitlines())
        yield wrong(f"{head} {'; '.join(each)}".rstrip(), fix)
        return
    if read.mode is Mode.OBSERVE:
        yield note(f"{path} has `mode: observe`, so nothing is stopped", "Set `mode: enforce`.")
    elif noted := list_notes(read):
        yield note(f"{path} is valid; {pluralize(len(noted), 'note')}", fix)
    else:
        yield good(f"{path} is valid")
