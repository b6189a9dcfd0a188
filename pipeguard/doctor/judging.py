"""Checks of what judges: the scan engine, the rules and their cache, the policy."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter

from pipeguard.config.directories import (
    CACHE_DIR_VARIABLE,
    Trusted,
    cache_folder,
    closing_command,
    other_writer,
    usual_cache_folder,
)
from pipeguard.config.policy_file import PolicyScope
from pipeguard.detect.flows import overlap
from pipeguard.detect.model import features, network, opener
from pipeguard.detect.text import layouts
from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.doctor.policies import find_policies, read_policy
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode
from pipeguard.firewall.protocol import json_values
from pipeguard.installation import reinstall_command
from pipeguard.rulebook.cache_files import INDEX_PATTERN
from pipeguard.rulebook.packs import load_rules, sources
from pipeguard.runtime.progress import wait_for_engines

# What runs slower without the form in C, and whether that form was built.
NATIVE: dict[str, Callable[[], object]] = {
    "the model that reads all of a text runs in numpy, some fifteen times as slow as in C": (
        opener.native
    ),
    "the classifiers run in Python, a tenth as fast as in C": features.native,
    "frames are parsed in Python, a fifth as fast as in C": json_values.native,
    "texts are laid out in Python, a fifth as fast as in C": layouts.native,
    "results are compared with calls in Python, far slower than in C": overlap.native,
    "the network runs in numpy, a third as fast as in C and with 15 MB more memory": (
        network.native
    ),
}
ENGINE_MISSING = 3  # EngineError.exit_code: nothing can be judged, so nothing passes


def engine(_case: Case) -> Iterable[Diagnosis]:
    """True if the scan engine is installed, and finds a pattern."""
    try:
        import hyperscan
    except ImportError:
        yield wrong(
            "the scan engine (hyperscan) is missing, so nothing can be judged and nothing passes; "
            "it has wheels for Linux and macOS on x86-64 and ARM, and for Windows on x86-64",
            reinstall_command(),
        )
        return
    database = hyperscan.Database()
    database.compile(expressions=[b"needle"], ids=[7], flags=[0])
    seen: list[int] = []
    database.scan(b"a needle in hay", match_event_handler=lambda id_, *_: seen.append(id_))
    if seen == [7]:
        info: object = database.info()  # bytes, whatever its stub says
        text = info.decode("ascii", "replace") if isinstance(info, bytes) else str(info)
        version = getattr(hyperscan, "__version__", "")
        yield good(f"hyperscan {version}: {' '.join(text.split())}")
    else:
        yield wrong("the scan engine misses a word in a test text", reinstall_command())
    in_numpy = [what for what, form in NATIVE.items() if not form()]
    if in_numpy:
        yield note(
            f"{' and '.join(in_numpy)}: there was no C compiler when PipeGuard was installed",
            f"install one (gcc or clang, and Python's headers), then: {reinstall_command()}",
        )


def rules(_case: Case) -> Iterable[Diagnosis]:
    """True if the rules are valid, load, and find their own samples."""
    from pipeguard.detect.scanning.rule_groups import choose_engine
    from pipeguard.rulebook.cache import is_cached, is_shipped
    from pipeguard.rulebook.proof import confidences
    from pipeguard.rulebook.samples import texts

    packs = sources()
    chosen = load_rules(packs)
    was_kept, begun = is_cached(packs), perf_counter()
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
    if is_shipped(packs):
        yield good(f"{what}, compiled at installation, ready in {seconds * 1000:.0f} ms")
    elif was_kept:
        yield good(f"{what}, ready in {seconds * 1000:.0f} ms from the cache")
    elif is_cached(packs):
        yield good(f"{what}, compiled in {seconds:.1f} s and stored in the cache")
    else:
        yield good(f"{what}, compiled in {seconds:.1f} s, again at each start: see rules' cache")


def cache(case: Case) -> Iterable[Diagnosis]:
    """True if compiled rules can be stored, so that a server starts at once."""
    from pipeguard.rulebook.cache import is_shipped

    folder = Path(cache_folder())
    if not folder.exists() and is_shipped(sources()):
        yield good("not needed: the rules were compiled at installation")
        return
    slow = "so each start compiles the rules, which takes longer than some clients wait"
    elsewhere = f"or name another folder in {CACHE_DIR_VARIABLE}"
    if not folder.is_dir():
        yield wrong(f"{folder} cannot be created, {slow}", f"Create it, {elsewhere}.")
        return
    status = folder.stat()
    if who := other_writer(status, Trusted.ONLY_US):
        fix = closing_command(str(folder), status, Trusted.ONLY_US)
        yield wrong(f"{who} could write to {folder}, so it is not used, {slow}", fix)
        return
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        yield wrong(
            f"{folder} is not writable ({(error.strerror or 'no reason given').lower()}), {slow}",
            f"chmod u+rwx {shlex.quote(str(folder))}, {elsewhere}.",
        )
        return
    yield good(str(folder))
    usual = Path(usual_cache_folder())
    if usual != folder and not list(usual.glob(INDEX_PATTERN)):
        names = (CACHE_DIR_VARIABLE, "XDG_CACHE_HOME")
        unset = " ".join(f"-u {name}" for name in names if case.environment.get(name))
        yield note(
            f"a client that passes on no variables looks in {usual}, which has no compiled rules",
            f"env {unset} pipeguard doctor rules",
        )


def policy(case: Case) -> Iterable[Diagnosis]:
    """True if the policy files are valid; an invalid one keeps every server from starting."""
    files = find_policies(case.folder)
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
    flag = " --project" if scope is PolicyScope.PROJECT else ""
    fix = f"pipeguard policy check{flag} {shlex.quote(path)}"
    try:
        read = read_policy(path, scope)
    except PolicyError as error:
        head, *each = (" ".join(line.split()) for line in str(error).splitlines())
        yield wrong(f"{head} {'; '.join(each)}".rstrip(), fix)
        return
    yield good(f"{path} is valid")
    if read.isolate:
        from pipeguard.isolation import missing_paths

        for entry in read.isolate:
            yield from (wrong(why, fix) for why in missing_paths(entry))
    for text in read.notes:
        yield note(text, fix)
    if read.mode is Mode.OBSERVE:
        yield note(f"{path} has `mode: observe`, so nothing is stopped", "Set `mode: enforce`.")
