"""The kinds of documents, by a file's place."""

import re
from enum import StrEnum


class Kind(StrEnum):
    """A kind of document."""

    AGENT_RULES = "agents' rules"
    PROMPT = "prompts, evals"
    SECURITY = "security"
    TRANSLATED = "translated"
    README = "readme"
    CONTRIBUTING = "contributing"
    CHANGELOG = "changelog"
    MANUAL = "manual page"
    REFERENCE = "API reference"
    TICKET = "issues, mails"
    LOG = "logs"
    TABLE = "CSV"
    RECORDS = "JSON, YAML"
    MARKUP = "HTML, XML"
    SOURCE = "source"
    GUIDE = "guides"


_LANGUAGES = (
    "ar|bn|cs|da|de|el|es|fa|fi|fr|he|hi|hu|id|it|ja|ko|nl|no|pl|pt|ro|ru|sv|th|tr|uk|ur|vi|zh"
)
_PROSE = r"\.(md|mdx|rst|txt|adoc|html?)(\.gz)?$"
# The first that matches a path counts.
_FORMS: dict[Kind, tuple[str, ...]] = {
    Kind.AGENT_RULES: (
        r"(^|/)(agents|claude|gemini|skill|copilot-instructions|llms(-full)?)\.(md|txt)$",
        r"\.mdc$",
        r"\.(cursor|windsurf|cline)rules",
        r"/skills?/",
    ),
    Kind.PROMPT: (
        r"(prompt|eval|instruction|persona|agent)[^/]*/?[^/]*\.(md|mdx|ya?ml|jsonl?|txt|ipynb|csv)$",
        r"(prompt|eval|instruction|persona|agent)[^/]*/?[^/]*\.(py|ts)$",
    ),
    Kind.SECURITY: (
        r"(^|/)security[^/]*$",
        r"owasp|payload|attack|vulnerab|hardening|exploit|/wstg/|cheatsheet",
    ),
    Kind.TRANSLATED: (
        rf"(^|[/_.-])({_LANGUAGES})([-_][a-z]{{2,4}})?([/.][^/]*)*{_PROSE}",
        rf"(^|/)({_LANGUAGES})([-_][a-z]{{2,4}})?/man\d/",
        r"\.po$",
    ),
    Kind.README: (r"(^|/)readme[^/]*$", r"\.(dist|egg)-info/(METADATA|PKG-INFO)$"),
    Kind.CONTRIBUTING: (
        r"(^|/)(contributing|hacking|code_of_conduct|governance|install)[^/]*$",
        r"(^|/)(maintain|develop|support)[^/]*\.(md|rst|txt|adoc|gz)$",
    ),
    Kind.CHANGELOG: (r"(^|/)(changelog|changes|news|history|releases?|relnotes)[^/]*(/[^/]*)?$",),
    Kind.MANUAL: (r"(^|/)man\d/[^/]+\.\d[a-z]*(\.gz)?$", r"\.[1-8]$"),
    Kind.TICKET: (r"\.(eml|mbox|patch|diff)$", r"issue|(^|/)commits?\.|mail|discussion|ticket"),
    Kind.LOG: (r"\.log(\.\d+)?(\.gz)?$", r"(^|/)logs?/"),
    Kind.TABLE: (r"\.(csv|tsv)$",),
    Kind.REFERENCE: (rf"(^|/)(api|reference|ref)s?([/_.-]).*{_PROSE}", r"\.d\.ts$", r"\.pyi$"),
    Kind.RECORDS: (r"\.(json|jsonl|ndjson|ya?ml|toml|lock)$",),
    Kind.MARKUP: (r"\.(x?html?|xml|svg)$",),
    Kind.SOURCE: (
        r"\.(py|[cm]?[jt]sx?|go|rs|java|kt|rb|php|c|h|cc|cpp|hpp|cs|swift|lua|pl|sql)$",
        r"\.(sh|bash|zsh|fish|ps1|css|vue|ipynb)$",
    ),
    Kind.GUIDE: (_PROSE, r"(^|/)(copyright|licen[cs]e[^/]*)$"),
}
_KINDS = tuple((kind, re.compile("|".join(forms), re.IGNORECASE)) for kind, forms in _FORMS.items())


def kind_of(path: str) -> Kind | None:
    """The kind of the document at a path; None if it is not measured."""
    return next((kind for kind, form in _KINDS if form.search(path)), None)
