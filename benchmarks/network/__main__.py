"""`python -m benchmarks.network`: what a sentence costs the network, in C and in numpy."""

import argparse
import os
from itertools import islice
from pathlib import Path
from statistics import median
from time import process_time

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as PipeGuard itself has it; before numpy is imported

from benchmarks.documents.corpus import documents, existing_folder
from benchmarks.frames.figures import table
from pipeguard.detect.model.network import Logits, native, portable, tokens
from pipeguard.detect.model.network_sums import Vocabulary
from pipeguard.detect.model.network_weights import NetworkWeights, list_parts, unpack_network

TOGETHER = (1, 4, 8)  # sentences
PARTS = range(43, 48)  # of a sentence: as long as a long one
CHARS = 220
SENTENCES, ROUNDS = 160, 12
FILES = Path(__file__).resolve().parents[2] / "rules"
HEADS = ("network", "form", *(f"{count} together, ms" for count in TOGETHER), "difference, logits")


def main() -> None:
    """Measure each network, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument(
        "--folder", action="append", type=existing_folder, default=[], help="as documents"
    )
    parser.add_argument("--file", action="append", type=Path, default=[], help="a network's file")
    options = parser.parse_args()
    rows = []
    for file in options.file or sorted(FILES.glob("*.network")):
        weights = unpack_network(file.read_bytes())
        rows += measured(file.name, weights, sentences(options.folder, weights))
    print(table("CPU time, median", HEADS, rows))


def sentences(folders: list[Path], weights: NetworkWeights) -> list[list[str]]:
    """Pieces of real documents, as tokens, that are all about as long."""
    vocabulary = Vocabulary(list_parts(weights))
    texts = (document.text() or "" for document in documents(4000, folders, learned=None))
    pieces = (text[at : at + CHARS] for text in texts for at in range(0, 4000, CHARS))
    found = (piece for piece in map(tokens, pieces) if len(vocabulary.numbers(piece)) in PARTS)
    return list(islice(found, SENTENCES))


def measured(name: str, weights: NetworkWeights, texts: list[list[str]]) -> list[list[str]]:
    """The rows of one network; the forms take turns, sentence by sentence."""
    forms: dict[str, Logits] = {"numpy": portable()(weights)}
    in_c = native()
    if in_c is not None:
        forms["C"] = in_c(weights)
    expected = forms["numpy"](texts[:64], 0)
    taken = [times(forms, texts, count) for count in TOGETHER]
    rows = []
    for form in forms:
        milliseconds = [each[form] for each in taken]
        off = max(abs(a - b) for a, b in zip(forms[form](texts[:64], 0), expected, strict=True))
        rows.append([name, form, *(f"{each:.2f}" for each in milliseconds), f"{off:.0e}"])
    return rows


def times(forms: dict[str, Logits], texts: list[list[str]], count: int) -> dict[str, float]:
    """The milliseconds that each form takes for so many sentences."""
    taken: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(ROUNDS):
        for first in range(0, len(texts) - count + 1, 8):
            for form, logits in forms.items():
                taken[form].append(cpu_seconds(logits, texts[first : first + count]))
    return {form: median(seconds) * 1000 for form, seconds in taken.items()}


def cpu_seconds(logits: Logits, texts: list[list[str]]) -> float:
    """The CPU time of one call."""
    began = process_time()
    logits(texts, 0)
    return process_time() - began


if __name__ == "__main__":
    main()
