"""`python -m benchmarks.records`: what can be read in records, whether they replay, their cost."""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.frames.figures import table
from benchmarks.records.cases import FAMILIES, Case, Script, make_scripts
from benchmarks.records.ordinary import hour_script, ordinary_scripts
from benchmarks.records.play import Played, play
from benchmarks.records.price import measure_price
from benchmarks.records.search import read_all, texts_of

DOCUMENTS, ROUNDS, CALLS = 400, 12, 600
HEADS = ("sessions", "frames", "with a secret", "withheld", "different", "share")


def main() -> None:
    """Measure what the arguments ask for, and print it."""
    parts: dict[str, Callable[[argparse.Namespace], None]] = {
        "secrecy": measure_secrecy,
        "ordinary": measure_ordinary,
        "hour": measure_hour,
        "price": lambda options: measure_price(options.rounds),
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    add = parser.add_argument
    add("part", nargs="*", default=[*parts], help=f"what to measure: {', '.join(parts)} (all)")
    add("--families", type=int, default=FAMILIES, help=f"number of secrets' formats ({FAMILIES})")
    add("--turn", type=int, default=0, help="another number combines secrets and places anew")
    add("--documents", type=int, default=DOCUMENTS, help=f"number of documents ({DOCUMENTS})")
    add("--calls", type=int, default=CALLS, help=f"number of calls in an hour ({CALLS})")
    add("--rounds", type=int, default=ROUNDS, help=f"turns of each contender ({ROUNDS})")
    add("--misses", action="store_true", help="show frames that replay differently")
    options = parser.parse_args()
    for part in options.part:
        parts[part](options)


def measure_secrecy(options: argparse.Namespace) -> None:
    """Print the secrets that can be read, and how many frames with secrets replay differently."""
    readable, unseen, counts = list[list[str]](), list[str](), Counter[str]()
    with TemporaryDirectory(prefix="records-") as place:
        for number, script in enumerate(make_scripts(options.families, options.turn)):
            played = play(script.frames, Path(place) / str(number))
            counts += count_frames(played, options, secret=len(find_secret_frames(script)))
            readable += list_readable(script, read_frames(played.texts))
            sent = read_frames((side, frame.decode()) for side, frame in script.frames)
            unseen += [case.format.name for case in script.cases if not find_runs(case, sent)]
    heads = ("family", "use", "writing", "place", "runs of eight")
    print(table(f"{len(readable)} secrets can be read", heads, readable))
    print(f"Not found in the frames that were sent: {', '.join(unseen) or 'none'}\n")
    show_counts({"with secrets": counts})


def list_readable(script: Script, readings: set[str]) -> Iterator[list[str]]:
    """A row for each secret of which something can be read."""
    for case in script.cases:
        if found := find_runs(case, readings):
            share = f"{len(found)} of {len(case.grams)}"
            form = case.format
            yield [form.name, form.use.value, case.writing, case.place, share]


def find_secret_frames(script: Script) -> set[bytes]:
    """The frames in which a secret, or a part of it, can be read."""
    return {
        frame
        for case in script.cases
        for side, frame in (script.frames[at] for at in case.frames)
        if find_runs(case, read_frames([(side, frame.decode())]))
    }


def read_frames(frames: Iterable[tuple[str, str]]) -> set[str]:
    """All that frames say, each with its side."""
    return set[str]().union(*map(read_all, texts_of(frames)))


def find_runs(case: Case, readings: set[str]) -> set[str]:
    """The runs of a secret that are in a reading."""
    return {gram for gram in case.grams if any(gram in reading for reading in readings)}


def measure_ordinary(options: argparse.Namespace) -> None:
    """Print how many frames of ordinary sessions replay differently."""
    kinds = defaultdict[str, Counter[str]](Counter)
    with TemporaryDirectory(prefix="records-") as place:
        for number, (kind, script) in enumerate(ordinary_scripts(options.documents)):
            kinds[kind] += count_frames(play(script.frames, Path(place) / str(number)), options)
    show_counts(kinds)


def count_frames(played: Played, options: argparse.Namespace, secret: int = 0) -> Counter[str]:
    """Count the frames of a session as the heads of the table say; show differences if asked."""
    if options.misses:
        print(*played.different, sep="\n")
    numbers = (1, played.frames, secret, played.withheld, len(played.different))
    return Counter(dict(zip(HEADS, numbers, strict=False)))


def show_counts(kinds: Mapping[str, Counter[str]]) -> None:
    """Print counts, with the share of frames that are not as they were."""
    rows = []
    for kind, counts in kinds.items():
        bad = counts["withheld"] + counts["different"]
        share = bad / max(counts["with a secret"] or counts["frames"], 1)
        rows.append([kind, *(str(counts[head]) for head in HEADS[:-1]), f"{share:.1%}"])
    print(table("Frames in replays", ("of", *HEADS), rows), flush=True)


def measure_hour(options: argparse.Namespace) -> None:
    """Print the size of an agent's session, and how fast it is replayed."""
    script = hour_script(options.calls)
    with TemporaryDirectory(prefix="records-") as place:
        played = play(script.frames, Path(place) / "hour")
    sent = sum(len(frame) for _, frame in script.frames)
    sizes = [f"{size / 1e6:.1f} MB" for size in (sent, played.size)]
    rates = [f"{played.frames / each:,.0f} a second" for each in (played.live, played.seconds)]
    heads = ("calls", "sent", "record", "frames live", "in the replay")
    print(table("An agent's session", heads, [[str(options.calls), *sizes, *rates]]))
    show_counts({"hour": count_frames(played, options)})


if __name__ == "__main__":
    main()
