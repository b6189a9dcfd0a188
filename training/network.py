"""Trains the network behind the classifiers: `python -m training.network --help`.

It learns from what the classifiers learn from (training/corpus.py). A large model is taught to tell
orders from other texts (training/teacher.py), and then labels each text, variants of it, and pieces
of what is installed; a network of a hundredth of its size learns these labels. The large model does
not know other languages than English; of them, the network learns from the texts alone. Both give
two answers for a text: whether it is an order where a result says it, and where a definition does,
which speaks to the model by nature. Needs torch, which PipeGuard itself does not.
Sources: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015);
R. Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks" (2019).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional

from pipeguard.detect.model.classifier import unpack_classifier
from pipeguard.detect.model.network import tokens
from pipeguard.detect.model.network_sums import Vocabulary
from pipeguard.detect.model.network_weights import INSIDE, KERNEL, NUMBER, PADDING
from training.labelled import (
    OUTPUTS,
    RULES,
    LabelledText,
    definitions,
    guards,
    is_foreign,
    results,
    unsure,
)
from training.packing import pack_network
from training.teacher import Pace, Teacher, fit, labels_for_network
from training.train import NETWORK, SEED, natural_option, served_option, write

ROW, WIDTH, LAYERS = 128, 192, 4
SPREAD = 0.5  # standard deviation of the numbers in a row at the beginning
OTHER_PARTS = 12_000  # parts of words in other languages
OFTEN = 4  # a part of a word that is in fewer texts has no row
PACE = Pace(rate=2e-3, passes=14, batch=512, lost=0.1)
ALONE = 2  # the weight of a text that the teacher has not labelled, and that has no variants
_MARKS = ("[PAD]", "[UNK]", "[NUMBER]")  # as detect.model.network numbers them


class Small(nn.Module):
    """The network that pipeguard.detect.model.network runs."""

    def __init__(self, rows: Tensor) -> None:
        """Begin with a row for each part of a word."""
        super().__init__()
        self.words = nn.Embedding.from_pretrained(rows, freeze=False)
        self.layers = nn.ModuleList(
            nn.Conv1d(ROW if not i else WIDTH, WIDTH, KERNEL, padding=2**i, dilation=2**i)
            for i in range(LAYERS)
        )
        self.head = nn.Linear(2 * WIDTH, len(OUTPUTS))
        self.drop = nn.Dropout(0.1)

    def forward(self, numbers: Tensor) -> Tensor:
        """The confidence, in logits."""
        there = (numbers != PADDING).float()[:, None]
        state = self.drop(self.words(numbers)).transpose(1, 2) * there
        for index, layer in enumerate(self.layers):
            seen = functional.gelu(layer(state), approximate="tanh") * there
            state = state + seen if index else seen
        most = (state - 1e4 * (1 - there)).amax(2)
        mean = state.sum(2) / there.sum(2)
        logits: Tensor = self.head(self.drop(torch.cat([most, mean], 1)))
        return logits


def parts_of(
    labels: Sequence[LabelledText], rows: Tensor, names: dict[str, int]
) -> tuple[list[str], Tensor]:
    """The parts of words that the texts are made of, and a row for each.

    Those of English are the large model's; further ones are made for words with other letters.
    """
    parts = [*_MARKS, *dict.fromkeys((*names, *_other_parts(labels, names)))]
    counted = Vocabulary(parts)
    read = (counted.numbers(tokens(label.text)) for label in labels)
    often = Counter(number for numbers in read for number in set(numbers))
    frequent = [
        number for number in range(len(parts)) if number < len(_MARKS) or often[number] >= OFTEN
    ]
    flat = rows @ torch.pca_lowrank(rows, ROW, center=False, niter=6)[2]
    made = torch.randn(len(parts), ROW) * flat.std()
    at = [(number, names[part]) for number, part in enumerate(parts) if part in names]
    made[[number for number, _ in at]] = flat[[number for _, number in at]]
    made[PADDING], made[NUMBER] = 0, flat[names["0"]]
    return [parts[number] for number in frequent], made[frequent] * (SPREAD / float(flat.std()))


def _other_parts(labels: Sequence[LabelledText], names: dict[str, int]) -> list[str]:
    """Parts of the words that the large model does not know."""
    foreign = Counter(
        token
        for label in labels
        for token in tokens(label.text)
        if token.isalpha() and token not in names
    )
    maker = Tokenizer(models.WordPiece(unk_token=_MARKS[1]))
    maker.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=OTHER_PARTS, min_frequency=10, continuing_subword_prefix=INSIDE
    )
    lines = (" ".join([word] * min(count, 50)) for word, count in foreign.items())
    maker.train_from_iterator(lines, trainer)
    return sorted(maker.get_vocab())


def content_of(model: Small, parts: Sequence[str]) -> bytes:
    """The network as its file stores it: each tensor in steps of one byte."""
    tensors = [model.words.weight]
    for layer in model.layers:
        tensors += [layer.weight.permute(2, 1, 0).reshape(-1, WIDTH), layer.bias]
    tensors += [model.head.weight.T, model.head.bias]
    return pack_network(parts, OUTPUTS, [_in_steps(tensor.detach()) for tensor in tensors], LAYERS)


def _in_steps(tensor: Tensor) -> tuple[float, bytes]:
    """The value of a step, and the values in steps."""
    step = float(tensor.abs().max()) / 127
    return step, (tensor / step).round().to(torch.int8).contiguous().numpy().tobytes()


@click.command()
@natural_option
@served_option
@click.option(
    "--labels", "labels_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Store the teacher's labels in this file, or learn those that are stored in it.",
)  # fmt: skip
@click.option(
    "--teacher", "base", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder of another large model than all-MiniLM-L6-v2 as the teacher.",
)  # fmt: skip
def main(
    folders: tuple[Path, ...], served: Path | None, labels_file: Path | None, base: Path | None
) -> None:
    """Write rules/orders.network, and its hash into what names it."""
    random.seed(SEED)
    torch.manual_seed(SEED)
    as_result, as_definition = guards()
    defined = definitions(served, as_definition)
    english = results("en", as_result) + [label for label in defined if not is_foreign(label.text)]
    if labels_file is not None and labels_file.exists():
        with labels_file.open(encoding="utf-8") as lines:
            labels = [LabelledText(*json.loads(line)) for line in lines]
    else:
        labels = labels_for_network(english, folders, as_result, base)
        if labels_file is not None:
            labels_file.write_text("".join(map(_line, labels)), "utf-8")
    learned = {label.text for label in labels}
    others = [label for label in results("*", as_result) + defined if label.text not in learned]
    labels += ALONE * [unsure(label) for label in others]
    begun = Teacher()
    parts, rows = parts_of(labels, begun.words(), begun.split.get_vocab())
    click.echo(f"{len(labels)} texts, {len(parts)} parts of words")
    model, words = Small(rows), Vocabulary(parts)
    fit(model, [words.numbers(tokens(label.text)) for label in labels], labels, PACE)
    content = content_of(model.cpu(), parts)
    (RULES / NETWORK).write_bytes(content)
    click.echo(f"{len(content)} bytes, sha256 {sha256(content).hexdigest()}")
    for name in OUTPUTS:
        write(name, unpack_classifier((RULES / f"{name}.model").read_bytes()))


def _line(label: LabelledText) -> str:
    values = [label.text, *(round(answer, 4) for answer in label[1:])]
    return json.dumps(values, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
