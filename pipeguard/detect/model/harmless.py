"""A text without what is public by its form, so that a classifier reads what is left of it.

A public key is made to be copied, pasted and sent; a line of documentation that says where its
index is, llms.txt, asks for nothing. An order uses the same words, so a classifier takes both for
one. Knows forms alone: whether the rest is an order, detect.model.cascade asks the classifier.
"""

from __future__ import annotations

import re

from pipeguard.detect.words import topics
from pipeguard.firewall.lazy_regex import lazy_regex

_FILE, _PAGE, _NOTICE = "LICENSE", "the page", "The page has an index."
# A path of a file with a public key or a certificate, and no address.
_PUBLIC_FILE = lazy_regex(
    r"(?<![\w/\\:.~$%-])(?:(?<!@)|(?=[~/]))(?:[A-Za-z]:)?[\w/\\.~$%-]{0,120}?"
    r"(?:[\w-]\.(?:pub|crt)|\bknown_hosts|\bfullchain\.pem)(?![\w/\\-]|\.\w)"
)
_ADDRESS = lazy_regex(r"https?://[^\s\"'<>()\[\]]*[\w/]|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MORE = lazy_regex(topics.alternatives("MORE"), re.IGNORECASE)
# A line, or a sentence, that says where the index of a documentation is, in no other words. Each
# word is read in one way: a row of numbers would take exponential time.
_INDEX_NOTICE = lazy_regex(
    r"^[ \t>#*]*(?>(?:note|hint|hey|hello|dear|for|to|all|any|and|or|an?|the|if|you|are|AI|LLMs?"
    r"|agents?|assistants?|models?|language|large|crawlers?|bots?|this|these|that|of|in|on|at|as|with"
    r"|see|here|everything|complete|full|whole|entire|documentation|docs?|manual|guide|handbook"
    r"|index|overview|list|map|text|version|versions|pages?|site|website|project|product|library"
    r"|API|SDK|reference|content|contents|markdown|plain|machine|readable|friendly|also|is|its|can"
    r"|be|available|found|provided|located|published|[0-9.]+|v[0-9][0-9.]*)\b[ \t,:;()*_-]*){4,40}"
    r"[\[(<`]{0,2}(?:https?://[^\s?#<>()\[\]`]*)?/?llms(?:-full)?\.txt[\])>`]{0,2}"
    r"(?:\(https?://[^\s?#<>()\[\]`]*/llms(?:-full)?\.txt\))?(?:,? in (?:markdown|plain text))?"
    r"[.!]?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)


def without_harmless(text: str) -> str:
    """A text with other words for what is public in it; the same text if nothing is."""
    if "llms" in text:
        text = _INDEX_NOTICE.sub(_NOTICE, text)
    if _PUBLIC_FILE.search(text) is None:
        return text
    return "".join(map(_without_public_file, text.splitlines(keepends=True)))


def _without_public_file(line: str) -> str:
    bare, count = _PUBLIC_FILE.subn(_FILE, line)
    bare = _ADDRESS.sub(_PAGE, bare)
    return bare if count and _MORE.search(bare) is None else line
