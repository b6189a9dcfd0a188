"""False blocks of documents and noise, which hold no attack."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.detection import harvest, servers
from benchmarks.detection.cases import Case, Expect, Split, Way
from benchmarks.detection.json_tree import Object
from benchmarks.detection.play import Outcome, Play, play_all
from benchmarks.detection.report import MEGABYTE
from benchmarks.detection.variants import variant
from benchmarks.frames.figures import table
from pipeguard.detect.detector import Engines

SHOWN_RULES = 3  # for a stopped document


def play_noise(count: int, rules: Engines) -> dict[str, int]:
    """Play each kind of noise, so many times as a result and as an argument.

    Returns:
        The number of blocked frames by kind.
    """
    blocks: dict[str, int] = {}
    lines = []
    for kind in harvest.NOISES:
        cases = (
            harvest.noise_case(kind, Split.TUNED, number, way)
            for number in range(count)
            for way in (Way.RESULT, Way.ARGUMENTS)
        )
        plays = list(play_all((variant(case, "text") for case in cases), rules))
        blocks[kind] = sum(play.stopped for play in plays)
        first = Counter(rule for play in plays if play.stopped for rule in play.rules[:1])
        named = ", ".join(f"{rule} {times}" for rule, times in first.most_common())
        lines.append([kind, str(len(plays)), str(blocks[kind]), named])
    heads = ("noise", "frames", "blocked", "rules")
    print(table("Frames of 32 KiB of noise", heads, lines), flush=True)
    return blocks


def play_corpus(
    folders: Sequence[Path], way: Way, rules: Engines, *, misses: bool
) -> dict[str, object]:
    """Play all texts in some trees, and print what was blocked, and by which rules.

    Args:
        folders: the trees.
        way: the part of a conversation that contains them.
        rules: that judge them.
        misses: True to list what was stopped.

    Returns:
        The figures.
    """
    size_bytes, frames, seconds = 0, 0, 0.0
    stopped: list[Play] = []
    cases = (case for folder in folders for case in _all_in(folder, way))
    for play in play_all((variant(case, "text") for case in cases), rules):
        frames += 1
        size_bytes += play.frame_bytes
        seconds += play.seconds
        if play.stopped:
            stopped.append(play)
    megabytes = size_bytes / MEGABYTE
    first = Counter(rule for play in stopped for rule in play.rules[:1])
    blocked = sum(play.outcome is Outcome.BLOCKED for play in stopped)
    share = 10 * blocked / megabytes if megabytes else 0.0
    total = f"{blocked} of {frames} frames blocked, {share:.2f} in 10 MB"
    cut = sum(play.is_cut for play in stopped)
    total += f", {cut} cut, {len(stopped) - blocked - cut} redacted"
    rate = f"{megabytes / seconds:,.1f} MB/s" if seconds else "nothing readable"
    print(f"Corpus as {way.value}: {megabytes:,.1f} MB, {total}, {rate}")
    rows = [[rule, str(times), f"{times / megabytes:.3f}"] for rule, times in first.most_common()]
    print(table("", ("first rule", "frames", "a MB"), rows), flush=True)
    if misses:
        _show_stopped(stopped)
    return {
        "as": way.value,
        "megabytes": megabytes,
        "frames": frames,
        "blocks": blocked,
        "cut": cut,
        "redacted": len(stopped) - blocked - cut,
        "blocks_in_10_mb": share,
        "by_rule": dict(first.most_common()),
    }


def _show_stopped(stopped: Iterable[Play]) -> None:
    lines = [
        [play.id, play.outcome.name.lower(), ", ".join(play.rules[:SHOWN_RULES])]
        for play in stopped
    ]
    heads = ("file", "became", "rules")
    print(table("Blocked, cut or redacted, from the file on", heads, lines), flush=True)


def _all_in(folder: Path, way: Way) -> Iterator[Case]:
    bodies: Iterator[tuple[str, Object]]
    if way is Way.DEFINITION:
        bodies = ((name, _definition(entry)) for name, entry in servers.stored_definitions(folder))
    else:
        bodies = ((path, harvest.body_of(text, way)) for path, text in harvest.tree(folder))
    for name, body in bodies:
        yield Case(name, Split.TUNED, "corpus", Expect.QUIET, "zxx", way, body)


def _definition(entry: Object) -> Object:
    return {"server": entry} if "instructions" in entry else {"tools": [entry]}
