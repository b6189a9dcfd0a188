"""A small neural network that re-scores borderline pieces.

A classifier (detect.model.classifier) adds up words, each for itself. The network sees each word in
its context, and words of similar meaning weigh alike. It takes a fifth of a millisecond a sentence,
and so reads only the sentences that the classifier is not sure are harmless. training/network.py
makes the weights; the classifier's file names their file.

- A **part** is a word, or the longest beginning of a word's rest, that has an embedding; all
  numbers are one part, and so are all letters without an embedding.
- Embedding, residual 1-D convolutions (kernel 3, dilation 1, 2, 4, 8), max and mean pooling, one
  linear head per output: one for results, one for definitions.

`_network.c` runs it; if it was not built, `network_sums` does, with numpy. Knows no rules.
Sources of the form: F. Yu, V. Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions"
(2016); Y. Wu et al., "Google's Neural Machine Translation System" (2016), parts of words.
"""

from collections.abc import Callable, Sequence

from pipeguard.detect.model.network_weights import MAX_PARTS, NetworkWeights, unpack_network
from pipeguard.detect.model.sentences import plain
from pipeguard.firewall.lazy_regex import lazy_regex

BATCH = 64  # texts that are read together, as many as _network.c takes

_TOKEN = lazy_regex(
    r"[^\W\d_\u3040-\u30ff\u3400-\u9fff]+|\d+|[\u3040-\u30ff\u3400-\u9fff]|[^\w\s]|_"
)
_ADDRESS = lazy_regex(r"https?://\S+|www\.\S+")
_MAIL = lazy_regex(r"(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.-]+")

# The logits of one output, by its number, for texts that are lists of tokens.
Logits = Callable[[Sequence[Sequence[str]], int], list[float]]


class Network:
    """Weights and their vocabulary. Several threads may use it.

    Attributes:
        outputs: their names.
    """

    def __init__(self, content: bytes | memoryview) -> None:
        """Use the output of training/network.py, without copying it.

        Raises:
            ValueError, KeyError, TypeError: the content is not a network.
        """
        weights = unpack_network(content)
        self.outputs = weights.outputs
        self._logits = (native() or portable())(weights)

    def scores(self, texts: Sequence[str], output: str) -> list[float]:
        """Score each text as an order to the model, in logits.

        Raises:
            ValueError: there is no such output.
        """
        number = self.outputs.index(output)
        read = [tokens(text)[:MAX_PARTS] for text in texts]
        scores = []
        for first in range(0, len(read), BATCH):
            scores += self._logits(read[first : first + BATCH], number)
        return scores


def tokens(text: str) -> list[str]:
    """The words, numbers, ideographs and signs of a text, in lower case.

    All numbers are one token; so are an address and a mail address, as words.
    """
    found = _TOKEN.findall(_MAIL.sub(" email ", _ADDRESS.sub(" website ", plain(text))))
    return ["0" if token.isdecimal() else token for token in found]


def native() -> Callable[[NetworkWeights], Logits] | None:
    """The form in C; None if it was not built."""
    try:
        from pipeguard.detect.model import _network
    except ImportError:
        return None

    def ready(weights: NetworkWeights) -> Logits:
        in_buffers = *weights[:5], *weights.sizes
        scratch_bytes = _network.scratch_bytes(weights.sizes.row, weights.sizes.width)
        unused: list[bytearray] = []  # scratch memory: a thread takes and returns it, or makes one

        def logits(texts: Sequence[Sequence[str]], output: int) -> list[float]:
            lines = "\n".join(map(" ".join, texts)).encode("utf-8", "surrogatepass")
            try:
                scratch = unused.pop()
            except IndexError:  # a check first would not help: another thread could take it
                scratch = bytearray(scratch_bytes)
            found = _network.logits(lines, in_buffers, output, scratch)
            unused.append(scratch)
            return found

        return logits

    return ready


def portable() -> Callable[[NetworkWeights], Logits]:
    """The form in numpy, which takes 70 ms to import."""
    from pipeguard.detect.model.network_sums import NetworkSums

    return lambda weights: NetworkSums(weights).logits
