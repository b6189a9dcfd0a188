"""What a tool does, as far as its definition tells: it reads, takes in, sends, runs, keeps, undoes.

Words in names, in the first sentence about a tool, and in its parameters; no values. Annotations
are not asked: who lies about a tool lies there first.
"""

from __future__ import annotations

import re
from enum import Flag, auto
from typing import NamedTuple

from pipeguard.core.flows.tool_words import meanings
from pipeguard.core.protocol.message import JsonObject
from pipeguard.core.words.notation import word_set as listed


class Label(Flag):
    """What a tool does, as far as its definition tells."""

    NONE = 0
    READS_PRIVATE = auto()
    READS_PERSONAL = auto()  # what its owner would show to nobody: mail, calendars, records
    READS_SECRET = auto()
    TAKES_IN = auto()  # what third parties may have written
    SENDS = auto()  # to somewhere outside
    OUTSIDE = auto()  # to anybody, or to any address that a call names
    RUNS = auto()
    KEEPS = auto()  # what later sessions will read
    UNDOES = auto()  # what cannot be taken back: deleting, paying
    WRITES = auto()  # files
    GUARDS = auto()  # what is asked of a person, and what is written down
    HOLDS = auto()  # secrets, which it is given to keep


PRIVATE = Label.READS_PRIVATE | Label.READS_SECRET | Label.RUNS  # what runs can read anything
ACTS = Label.RUNS | Label.KEEPS
CHANGES = ACTS | Label.UNDOES | Label.GUARDS
SINKS = Label.SENDS | Label.WRITES | CHANGES


class Tool(NamedTuple):
    """A tool as flows see it.

    Attributes:
        name: the tool's.
        labels: what it does.
    """

    name: str
    labels: Label

    @property
    def is_sink(self) -> bool:
        """True where what goes to it is looked up, as where nothing tells what it does."""
        return bool(self.labels & SINKS) or not self.labels


_READ = listed(
    "read get list search query export find show view open select dump lookup load cat look "
    "return retrieve give peek display browse tell print download inspect fetch check past "
    "history see grep pull access summary summarize gather collect"
)
_FILES = listed(
    "file files folder repo repository disk code page pages record records row rows table "
    "tables event events history session login user users member members client clients people "
    "photo photos location account accounts"
)
_PERSONAL = listed(
    "mail mails email emails inbox mailbox message messages thread threads database db customer "
    "customers contact contacts crm calendar agenda appointment appointments drive document "
    "documents clipboard note notes patient patients payroll invoice invoices employee "
    "employees staff hr memory memories private personal confidential internal chat chats "
    "conversation conversations salary salaries medical health company diary bank transactions "
    "contract contracts profile subscriber subscribers lead leads payslip payslips wage wages "
    "pension pupil pupils student students citizen citizens resident residents claim claims "
    "insurance policyholder tax taxes loan loans mortgage ledger accounting erp candidate "
    "candidates applicant applicants resume resumes clinic clinical diagnosis prescription "
    "prescriptions lab laboratory therapy sleep passport visa minutes legal lawyer lawyers "
    "court deal deals negotiation restricted classified sensitive proprietary closed intranet "
    "board directors incident incidents guest guests donor donors whereabouts position dossier "
    "grades bookings reservations prospects home household family child children sensor sensors "
    "camera cameras"
)
# What is not for everybody, whatever it is.
_MARKED = listed(
    "private personal confidential internal restricted classified sensitive proprietary closed "
    "intranet secret privileged sealed"
)
_TRACES = listed("history bookmarks cookies downloads")
_OWNED = re.compile(
    r"\b(?:my|(?:user|owner|customer|patient|account holder)['\u2019]s?"
    r"|of (?:the|your|this|one) (?:\w+ )?(?:user|owner|customer|patient|person|account))\b",
    re.IGNORECASE,
)
_PUBLISHED = listed(
    "web url website browser internet online scrape crawl rss feed http https release changelog "
    "public docs documentation library news product products readme license licence"
)
_ADDRESSES = listed("address book")
_SECRET = listed(
    "secret secrets env environment vault keychain keyring credential credentials password "
    "passwords token tokens dotenv passphrase kv variables"
)
_STORES = listed(
    "secret secrets vault keychain keyring credential credentials password passwords kv passphrase"
)
_WEB = listed(
    "fetch browse scrape crawl web url page website browser rss feed internet online article site"
)
_ASKING = listed("dns resolve nslookup dig ping whois curl")  # whatever is asked goes out
_NETWORK = listed("dns resolve nslookup dig ping whois lookup http https request curl image link")
_OTHERS = listed(
    "issue issues comment comments review reviews ticket tickets pull inbox mail email support "
    "event events calendar invitation invitations attachment attachments pdf ocr transcript "
    "captions video news forum post posts article wiki buyers visitors guests podcast blog "
    "reddit feed rss customers wrote written public message messages mailbox"
)
_SEND = listed(
    "send post publish upload share submit forward push broadcast dispatch deliver transmit "
    "relay notify announce trigger reply tweet toot mention invite emit"
)
_SEND_NOUNS = listed(
    "webhook comment email mail message text sms dm pastebin paste gist snippet slack discord "
    "telegram tweet toot fax status channel"
)
_OF_FILES = listed("text status")  # what a file holds as well
# What is made where others read it.
_POSTED = listed("issue pull pr comment discussion release review page wiki")
_SEVERAL = frozenset(f"{noun}s" for noun in _POSTED | _SEND_NOUNS)
_MAKE = listed("create open add new make write edit update")
_ORDERS = listed("mark move archive label draft count star flag sort")
_PUBLIC = listed(
    "public everyone everybody anybody anyone world any external outside outsiders paste "
    "pastebin gist snippet tweet toot twitter mastodon blog microblog social host site web url "
    "webhook endpoint http internet partner partners strangers online third vendor vendors "
    "competitor competitors press organisations organizations"
)
_PUBLISH = listed(
    "publish publishes sends uploads posts submits shares anyone anybody everybody everyone"
)
_REPORT = listed("log report record")
_REMOTE = listed("remote hosted external outside cloud online third vendor elsewhere")
_RUN = listed(
    "run exec execute shell eval evaluate bash terminal command cmd script powershell python "
    "repl console interpreter"
)
_KEEP = listed(
    "remember memory memorize cron schedule crontab persist keep learn job jobs rule rules hook "
    "hooks preference preferences"
)
_WRITE = listed("write save add create store append set update put edit keep schedule insert")
_UNDO = listed(
    "delete remove drop erase wipe purge destroy transfer pay payment revoke merge deploy "
    "cancel close reset terminate refund grant withdraw purchase"
)
_CHANGE = listed(
    "set change update configure toggle disable enable edit modify put switch attach apply "
    "assign bind install register order buy subscribe unlock lock arm disarm start stop "
    "restart"
)
_GUARDED = listed(
    "policy policies setting settings permission permissions approval approve audit logging "
    "confirm confirmation confirmations sandbox guard firewall safety security config "
    "configuration"
)
_TO = listed(
    "to recipient recipients guests attendees participants invitees email site url endpoint "
    "webhook channel bcc cc host destination address number phone room receiver target callback "
    "remote"
)
_BODY = listed(
    "body content text message data payload file attachment attachments json html query fields "
    "status caption note comment description remark rows values"
)
_GIVEN = listed("files title subject description line lines")
_CODE = listed("command cmd code script shell sql statement manifest")
_ASKED = listed(  # goes out with a request
    "url uri host hostname domain query endpoint address src link href site q"
)
_PATHS = listed("path file filename filepath")
_ADDRESS = listed("url uri endpoint webhook src href link host hostname domain broker")

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NOTHING: frozenset[str] = frozenset()


class _DefinitionWords(NamedTuple):
    """The words of a definition.

    Attributes:
        called: of the name.
        does: of the name, and what the description begins with.
        said: of the name and the first sentence of the description.
        parameters: of their names.
        is_owned: True where the first sentence says that it is somebody's.
        beyond: of the name, and of all that is read of the description.
    """

    called: frozenset[str]
    does: frozenset[str]
    said: frozenset[str]
    parameters: frozenset[str]
    is_owned: bool = False
    beyond: frozenset[str] = _NOTHING


def tool_of(name: str, definition: JsonObject | None) -> Tool:
    """A tool with its labels."""
    return Tool(name, labels_of(name, definition))


def labels_of(name: str, definition: JsonObject | None) -> Label:
    """Tell what a tool does by its name, the first sentence about it and its parameters.

    Args:
        name: the tool's.
        definition: as `tools/list` gives it (MCP server/tools), or None where it was not listed.
    """
    told = _told(name, definition)
    gives = bool(told.does & _READ)
    writes = bool(told.does & (_WRITE | _UNDO | _CHANGE)) and not told.called & _READ
    others = gives or bool(told.called & (_UNDO | _ORDERS))
    passes = not told.parameters or bool(told.parameters & (_TO | _BODY | _GIVEN))
    nouns = _SEND_NOUNS - _OF_FILES if told.parameters & _PATHS else _SEND_NOUNS
    sends = bool(told.does & _SEND) or bool(told.does & nouns and passes and not others)
    posted = told.called & (_POSTED | _SEND_NOUNS | _SEVERAL)
    sends = sends or bool(posted and told.called & _MAKE and not told.called & _ORDERS)
    made = told.called if gives else told.does
    sends = sends or bool(made & (_WRITE | _MAKE | _REPORT) and told.said & _REMOTE)
    sends = sends or bool(told.beyond & _PUBLISH and not told.called & _READ)
    found = _reads(told, is_quiet=not (writes or sends or told.does & _RUN))
    asks = bool(told.said & (_WEB | _NETWORK)) and not writes
    if sends or (told.parameters & _TO and told.parameters & _BODY and not told.called & _READ):
        found |= Label.SENDS
    elif told.called & _ASKING and not writes:
        found |= Label.SENDS | Label.OUTSIDE
    elif asks and told.parameters & (_ASKED | _BODY) and not found & Label.READS_PERSONAL:
        found |= Label.SENDS  # an address that is asked for can carry anything
    if found & Label.SENDS and (told.beyond & (_PUBLIC | _REMOTE) or told.parameters & _ADDRESS):
        found |= Label.OUTSIDE
    return found | _changes(told, gives=gives)


def _reads(told: _DefinitionWords, *, is_quiet: bool) -> Label:
    """What comes back from a tool.

    Args:
        told: the words of its definition.
        is_quiet: True where it neither writes nor sends nor runs anything.
    """
    found = Label.NONE
    reads = bool(told.called & _READ) or (is_quiet and bool(told.does & _READ or told.said))
    is_personal = bool(told.said & _PERSONAL) or told.said >= _ADDRESSES or told.is_owned
    is_public = told.said & _PUBLISHED and not (told.is_owned and told.said & _TRACES)
    if reads and (told.beyond & _MARKED or (is_personal and not is_public)):
        found |= Label.READS_PRIVATE | Label.READS_PERSONAL
    elif reads and told.said & _FILES and not told.said & (_PUBLISHED | _WEB - _FILES):
        found |= Label.READS_PRIVATE
    if told.said & _SECRET and (told.called & (_READ | _SECRET) or reads):
        found |= Label.READS_SECRET
    if (
        told.called & _WEB
        or (told.called & _NETWORK and not told.called & _SEND)
        or (reads and told.said & (_WEB | _OTHERS))
    ):
        found |= Label.TAKES_IN
    return found


def _changes(told: _DefinitionWords, *, gives: bool) -> Label:
    found = Label.NONE
    if told.called & _RUN or told.does & _RUN or told.parameters & _CODE:
        found |= Label.RUNS
    if told.does & _KEEP and (told.does & _WRITE or not gives):
        found |= Label.KEEPS
    if told.does & _UNDO and not told.called & _READ:
        found |= Label.UNDOES
    if told.does & _WRITE and told.parameters & _PATHS and not found:
        found |= Label.WRITES
    if told.called & _CHANGE and (told.said | told.parameters) & _GUARDED:
        found |= Label.GUARDS
    if told.called & _STORES and told.called & _WRITE and not told.called & (_READ | _SEND):
        found |= Label.HOLDS
    return found


def _told(name: str, definition: JsonObject | None) -> _DefinitionWords:
    called = _split(name)
    if definition is None:
        return _DefinitionWords(called, called, called, _NOTHING, beyond=called)
    description = definition.get("description")
    text = description[:200] if isinstance(description, str) else ""
    sentence = text.partition(".")[0]
    schema = definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    parameters = _NOTHING
    if isinstance(properties, dict) and properties:
        parameters = _NOTHING.union(*map(_split, properties))
    verbs = {form for word in sentence.split()[:2] for form in _forms(word.lower().strip(",.:;"))}
    is_owned = _OWNED.search(sentence) is not None
    said, beyond = called | _split(sentence), called | _split(text)
    return _DefinitionWords(called, called | verbs, said, parameters, is_owned, beyond)


def _forms(word: str) -> set[str]:
    """A verb as it is and without the ending of the third person."""
    forms = {word}
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith("es"):
        forms.add(word[:-2])
    if word.endswith("s"):
        forms.add(word[:-1])
    return forms


def _split(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text)) | meanings(text)
