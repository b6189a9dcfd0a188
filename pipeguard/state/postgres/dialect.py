"""SQL as the store's modules write it, in PostgreSQL's words.

What PostgreSQL lacks are functions of the schema (`schema.FUNCTIONS`); only what no function can be
is rewritten here.
"""

import re
from functools import lru_cache

_REWRITTEN = re.compile(
    r"(?P<truth>instr\(findings, '\"rule\":\"isolation\.'\))"
    r"|(?P<quoted>'(?:[^']|'')*')"
    r"|(?P<parameter>\?)"
    r"|(?P<percent>%)"
    r"|(?P<glob>\bGLOB\b)"
    r"|(?P<differs>\bIS NOT (?!NULL\b|DISTINCT\b))"
    r"|(?P<limit>\bLIMIT \?)"
    r"|(?P<integer>\bAS INTEGER\b)"
    r"|\bsubstr\((?P<text>\w+), -(?P<length>\d+)\)"
    r"|(?P<name>\b(?:group_concat|json_array)\()"
)
_NAMES = {"group_concat(": "string_agg(", "json_array(": "json_list("}
_WORDS = {
    "parameter": "%s",
    "percent": "%%",
    "glob": "~~~",
    "differs": "IS DISTINCT FROM ",
    "limit": "LIMIT nullif(%s, -1)",
    "integer": "AS BIGINT",
}


@lru_cache(maxsize=256)
def translate(statement: str) -> str:
    """A statement with PostgreSQL's operators, and with parameters as psycopg has them."""
    return _REWRITTEN.sub(_rewrite, statement)


def _rewrite(part: re.Match[str]) -> str:
    kind = part.lastgroup or ""
    if kind == "quoted":
        return part[0].replace("%", "%%")
    if kind == "truth":
        return f"{part[0]} > 0"
    if kind == "length":
        return f"right({part['text']}, {part['length']})"
    return _NAMES.get(part[0]) or _WORDS[kind]
