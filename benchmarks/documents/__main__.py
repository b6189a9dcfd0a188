"""`python -m benchmarks.documents`: what judging real documents costs, and what happens to them."""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.detection.harvest import definitions
from benchmarks.documents.corpus import Document, documents, existing_folder
from benchmarks.frames.figures import table

COUNT, QUICK = 2400, 240
WORKER = Path(__file__).with_name("worker.py")
ARGUMENTS_EVERY = 4  # one document in four is measured as arguments too
LINES = 8  # of such a document, each as a value of its own
LINE = re.compile(r"(?=.*(?:['\";#|]|--)).{4,200}")  # with a sign that a command or SQL could need
REPEAT = 2  # times that each document is judged; the quickest counts
TEN_KB = 10_000
FATES = ("block", "cut", "redact", "warn")
HEADS = (
    *("documents", "number", "MB", "p50", "p90", "p99", "overall"),
    *("read by the model", "by the network", "blocked", "cut", "redacted", "warned"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One document, or the definitions of one tool, in one way.

    Attributes:
        way: `result`, `arguments`, `value` or `definition`.
        kind: of the document.
        name: of it.
        body: what is judged: its text, a line of it, or a list of tools.
    """

    way: str
    kind: str
    name: str
    body: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one sample with one contender.

    Attributes:
        sample: that was judged.
        answer: of the worker.
    """

    sample: Sample
    answer: Mapping[str, Any]

    @property
    def ms(self) -> float:
        """Milliseconds for each 10 KB of the frame."""
        return float(1000 * self.answer["seconds"] * TEN_KB / self.answer["bytes"])

    @property
    def fate(self) -> str:
        """`block`, `cut` (some passages do not arrive), `redact`, `warn` or `allow`."""
        return "block" if self.answer["is_withheld"] else str(self.answer["action"])


class Contender:
    """A checkout of PipeGuard, in a process of its own."""

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        """Start it with its own interpreter if it has one, and with options of the worker."""
        own = folder / ".venv-test/bin/python"
        python = str(own if own.exists() else sys.executable)
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        self.name = name
        self.outcomes: list[Outcome] = []
        self.process = subprocess.Popen(
            [python, str(WORKER), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=folder,
            text=True,
        )

    def judge(self, sample: Sample) -> None:
        """Judge a sample, and keep the outcome.

        Raises:
            SystemExit: the process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = json.dumps({"way": sample.way, "body": sample.body, "repeat": REPEAT})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name} ended at {sample.name}")
        self.outcomes.append(Outcome(sample, json.loads(answer)))

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Judge documents as the options say, print tables, write JSON."""
    options = arguments()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs\n")
    learned = None if options.projects == "all" else options.projects == "learned"
    chosen = documents(QUICK if options.quick else options.count, options.folder, learned=learned)
    here = Path(__file__).resolve().parents[2]
    with ExitStack() as stack:
        contenders = [Contender("here", here)]
        contenders += [Contender("before", path.resolve()) for path in options.against]
        if options.without_native:
            contenders.append(Contender("here, without extensions", here, "--without-native"))
        for contender in contenders:
            stack.callback(contender.close)
        judge_all(chosen, contenders, folders=options.folder, show=sys.stderr.isatty())
    projects = len({document.project for document in chosen})
    print(f"{len(chosen)} documents of {projects} projects; ms of CPU for each 10 KB\n")
    for way in ("result", "arguments", "value", "definition"):
        for contender in contenders:
            outcomes = [each for each in contender.outcomes if each.sample.way == way]
            if outcomes:
                print(table(f"{way}: {contender.name}", HEADS, list(rows(outcomes))), flush=True)
    if options.show:
        for contender in contenders:
            print("\n".join(touched(contender)))
    if options.json:
        Path(options.json).write_text(json.dumps(as_json(contenders), indent=1) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.documents",
        description=__doc__,
        epilog="example: python -m benchmarks.documents --quick --folder ~/src --show",
    )
    add = parser.add_argument
    add("--count", type=int, default=COUNT, metavar="N", help=f"documents at most ({COUNT})")
    add("--quick", action="store_true", help=f"{QUICK} documents")
    add(
        "--folder",
        type=existing_folder,
        action="append",
        default=[],
        metavar="DIR",
        help="each folder in DIR is a project to take documents of, besides what is installed; "
        "may be repeated",
    )
    add(
        "--projects",
        choices=["apart", "learned", "all"],
        default="apart",
        help="which: those that training never reads (the default), those that it may, or all",
    )
    add(
        "--against",
        type=Path,
        action="append",
        default=[],
        metavar="CHECKOUT",
        help="measure another checkout in turn with this one; may be repeated",
    )
    add(
        "--without-native",
        action="store_true",
        help="measure this checkout in turn with itself without its extensions in C",
    )
    add("--show", action="store_true", help="list what did not arrive whole, with the rules")
    add("--json", metavar="FILE", help="write every outcome to FILE")
    return parser.parse_args()


def judge_all(
    chosen: Sequence[Document],
    contenders: Sequence[Contender],
    *,
    folders: Sequence[Path],
    show: bool,
) -> None:
    """Let each contender judge each sample, in turns."""
    for number, sample in enumerate(samples(chosen, folders)):
        if show:
            print(f"\r{number} of about {len(chosen) * 3}", end="", file=sys.stderr)
        order = contenders if number % 2 else contenders[::-1]
        for contender in order:
            contender.judge(sample)
    if show:
        print(file=sys.stderr)


def samples(chosen: Sequence[Document], folders: Sequence[Path]) -> Iterator[Sample]:
    """All that is judged."""
    for document in chosen:
        text = document.text()
        if text is None:
            continue
        name = f"{document.project}/{document.name}"
        yield Sample("result", document.kind.value, name, text)
        if document.order[0] % ARGUMENTS_EVERY == 0:
            yield Sample("arguments", document.kind.value, name, text)
            lines = [line for line in map(str.strip, text.splitlines()) if LINE.fullmatch(line)]
            for line in lines[:: len(lines) // LINES + 1]:
                yield Sample("value", document.kind.value, name, line)
    for case in definitions(folders):
        yield Sample("definition", "real servers", case.id, case.body["tools"])


def rows(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    """A row for each kind, and one for all."""
    kinds = sorted({each.sample.kind for each in outcomes})
    for kind in kinds:
        yield row(kind, [each for each in outcomes if each.sample.kind == kind])
    if len(kinds) > 1:
        yield row("all", outcomes)


def row(title: str, outcomes: Sequence[Outcome]) -> list[str]:
    """The figures of some outcomes."""
    ranked = sorted(each.ms for each in outcomes)
    size = sum(each.answer["bytes"] for each in outcomes)
    overall = 1000 * sum(each.answer["seconds"] for each in outcomes) * TEN_KB / size
    fates = Counter(each.fate for each in outcomes)
    stages = Counter(stage for each in outcomes for stage in each.answer["stages"])
    number = len(outcomes)
    at = (ranked[min(number - 1, int(share * number))] for share in (0.5, 0.9, 0.99))
    counts = (*(stages[s] for s in ("model", "network")), *(fates[fate] for fate in FATES))
    return [
        *(title, str(number), f"{size / 1e6:.1f}"),
        *(f"{ms:.2f}" for ms in (*at, overall)),
        *(f"{each} ({each / number:.1%})" for each in counts),
    ]


def touched(contender: Contender) -> Iterator[str]:
    """A line for each sample that did not arrive whole."""
    for each in contender.outcomes:
        if each.fate in ("block", "cut", "redact"):
            rules = " ".join(each.answer["rules"])
            yield f"{contender.name} {each.fate} {each.sample.way} {each.sample.name}: {rules}"


def as_json(contenders: Sequence[Contender]) -> dict[str, list[dict[str, Any]]]:
    """Every outcome of every contender, without the texts."""
    return {
        contender.name: [
            {
                "way": each.sample.way,
                "kind": each.sample.kind,
                "name": each.sample.name,
                "fate": each.fate,
                **each.answer,
            }
            for each in contender.outcomes
        ]
        for contender in contenders
    }


if __name__ == "__main__":
    main()
