"""Words of names, descriptions and queries, in the form in which they are compared.

Splits names at case, digits and separators, and leaves out words that say nothing about a tool. A
group of the thesaurus lists words that stand for each other in a request; a word in several groups
has the synonyms of each. Write the plain singular form: the index stems (`stems`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_WORD_CHARS = 40  # the longest in a dictionary of English has 45; what is longer is no word
MAX_QUERY_WORDS = 48  # of a query; whoever pastes a document asks with its beginning
_WORD = re.compile(r"[^\W_]+")
# The parts of a name: where a small letter is before a capital, where the last of several
# capitals begins a word (`HTTPServer`), and where letters and digits meet.
_PARTS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d])|(?<=[^\W\d])(?=\d)"
)
# What stands in a request to an agent and says nothing of which tool it takes.
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about all also am an and any are as at be been by can could do does doing done for
        from give given go going had has have having he help her here him his how i if in into
        is it its just let lets like may me might must my need needs no not now of on one or our
        out please she should so some something that the their them then there these they thing
        things this those to tool tools up us use used uses using via want wants was we were
        what when where which while who whom why will with would you your
        """,
    )
)
_GROUPS = """
create make add new open generate build insert register
delete remove erase drop destroy trash discard purge clear wipe unlink
update edit change modify alter patch revise amend set adjust
list enumerate show display all every overview index
get fetch retrieve obtain pull load download grab receive
read view open look see inspect cat content
search find look locate query lookup seek discover hunt where
send deliver post dispatch transmit submit mail notify forward
run execute launch start invoke perform trigger evaluate
stop kill terminate end abort cancel halt quit shutdown
copy duplicate clone replicate backup
move rename relocate transfer mv
write save store put persist record dump output
upload attach push publish share
compare diff difference contrast versus delta
merge combine join unite concatenate
convert transform translate change turn into export format
summarize summary digest overview brief condense shorten
count number total quantity many amount tally
calculate compute math arithmetic sum add evaluate expression
check verify validate test inspect audit lint
explain describe document clarify info information detail
schedule plan calendar appointment event meeting reminder booking agenda
remember memory memorize recall note knowledge store
ask question prompt query answer
think reason reasoning plan step thought
login authenticate sign auth credential session
connect attach link join
allow grant permit approve authorize
deny block forbid reject refuse ban
subscribe follow watch observe monitor listen
undo revert rollback reset restore discard
fix repair mend solve resolve correct
sort order rank arrange
filter narrow restrict limit
draw plot chart graph diagram visualize render figure
click press tap push select
type enter fill input write keyboard
scroll swipe
navigate goto visit open browse url go
wait sleep pause delay
capture screenshot snapshot picture photo screen image
file document text
folder directory dir path location tree
repository repo project codebase source git
commit change revision checkin save
branch fork version
history log changelog past earlier previous commits
issue bug ticket defect problem report
pull request pr patch review
comment reply remark feedback note respond
label tag category mark
release version deploy publish ship
user person people member account profile contact
team group organization org
email mail message inbox letter
chat conversation message dm thread talk channel
image picture photo screenshot graphic png
video clip movie recording film
audio sound music voice speech song
website site web page webpage url link homepage html
internet web online
weather forecast temperature rain climate sunny wind
time clock hour timezone date now today current
timezone zone region utc
place location address where map poi restaurant
route direction way path navigate travel journey drive
distance far length
price cost quote rate value worth
currency money exchange dollar euro
stock share ticker equity market
payment pay charge invoice bill
customer client buyer
order purchase buy
product item article goods
database db sql table data
table sheet spreadsheet grid
row record entry line
column field attribute
schema structure definition layout
query sql select statement
node entity vertex
edge relation relationship connection link
graph network knowledge
error exception failure crash fault
log trace output console
metric measurement statistic stat figure number
alert alarm notification warning
secret password credential key token
environment env variable setting
config configuration setting option preference
container docker pod image
cluster kubernetes k8s
server host machine instance vm
service app application
process task job
function method procedure routine
class type struct
package library dependency module
test spec check suite
code source program script
build compile make
dependency package requirement library
documentation docs doc manual guide reference
example sample demo
template boilerplate scaffold skeleton
json yaml data structured
csv spreadsheet table
pdf document
archive zip compress pack
size big large bytes space
permission right access role
country nation state
city town place
language tongue translation
word term vocabulary
paper article publication study research
news headline story article
book volume
movie film show
game play
random dice chance
greet hello welcome hi
echo repeat mirror
tab window page
button element control
form field input
cookie session
console devtools log
network request traffic http call
title name heading
id identifier number
newest latest recent last
oldest first earliest
""".strip()

ABBREVIATIONS: dict[str, str] = {
    "app": "application",
    "args": "arguments",
    "auth": "authentication",
    "calc": "calculate",
    "cfg": "configuration",
    "cmd": "command",
    "conf": "configuration",
    "config": "configuration",
    "db": "database",
    "del": "delete",
    "desc": "description",
    "dev": "development",
    "dir": "directory",
    "dirs": "directories",
    "dl": "download",
    "dm": "direct message",
    "doc": "document",
    "docs": "documentation",
    "env": "environment",
    "err": "error",
    "exec": "execute",
    "func": "function",
    "img": "image",
    "info": "information",
    "k8s": "kubernetes",
    "lib": "library",
    "loc": "location",
    "mkdir": "create directory",
    "mr": "merge request",
    "msg": "message",
    "mv": "move",
    "num": "number",
    "org": "organization",
    "param": "parameter",
    "params": "parameters",
    "perf": "performance",
    "pic": "picture",
    "pkg": "package",
    "pr": "pull request",
    "prs": "pull requests",
    "prod": "production",
    "pwd": "password",
    "repo": "repository",
    "repos": "repositories",
    "req": "request",
    "rm": "remove",
    "stats": "statistics",
    "temp": "temperature",
    "tz": "timezone",
    "util": "utility",
    "vars": "variables",
    "vm": "virtual machine",
}


def _by_word() -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for group in _GROUPS.splitlines():
        words = group.split()
        for word in words:
            found.setdefault(word, {}).update((other, None) for other in words if other != word)
    return {word: tuple(others) for word, others in found.items()}


SYNONYMS: dict[str, tuple[str, ...]] = _by_word()


def split_words(text: str) -> Iterator[str]:
    """Each word of a text in lower case, names in their parts: `listPullRequests2` has four."""
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text)):
        for part in _PARTS.split(match[0]):
            if len(part) <= MAX_WORD_CHARS:
                yield part.casefold()


def spelled_out(text: str) -> Iterator[str]:
    """Each word of a request, abbreviations in full: `PR` has two."""
    for word in split_words(text):
        yield from ABBREVIATIONS.get(word, word).split()


def synonyms(word: str) -> tuple[str, ...]:
    """Synonyms of a thing or an action; empty if none are known."""
    return SYNONYMS.get(word, ())
