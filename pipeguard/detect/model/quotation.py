"""Distinguishes texts that discuss attacks from attacks: by topic, and by the way they show them.

A text that discusses an attack shows it as an example, in quotes, a fenced code block, a table or a
literal of a program, and has other words for its topic. Only both together make a finding less
sure: whoever writes an order can quote it, or call it an example. A sentence can also report
somebody else's words, and be no order itself; a licence gives its reader orders. Knows no rules;
detect.scanning.rating and detect.model.cascade draw the conclusions.
"""

from functools import lru_cache

from pipeguard.detect.matching.confirm import cached_finder
from pipeguard.detect.words import alternatives
from pipeguard.detect.words import topics as topic_words
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.unicode.folding import fold

BEFORE_BYTES, AFTER_BYTES = 2000, 800  # around a stretch, in which words of its topic count
QUOTE_BYTES = 600  # before and after a stretch, in which a quote may begin or end
BEHIND_LETTERS = 24  # after a quote, in which a word may name its speaker
FENCE_BYTES = 6000  # before a stretch, in which a fence may have been opened
LINE_STEP_BYTES = 4096  # of a long line, for each of which its start is looked up
TOPIC_BYTES, WORD_BYTES = 512, 64  # looked up at once, and behind that for a word's end
FEW_TOPICS, MANY_TOPICS = 2, 3  # different words of the topic

_FENCE = lazy_regex(rb"(?m)^[ \t]{0,3}(?:```|~~~)")
_EXAMPLE_LINE = lazy_regex(
    rb"^[ \t]*+(?:\||>|(?:[-*+]|[0-9]{1,2}[.)])[ \t]++(?:[\"'`]"
    # A title that is a link, and all of its line: it has capitals, no address and no such verb.
    rb"|\[(?:(?!\b(?:(?!against\b)[a-z]\w{5}|(?i:send|forward|e?-?mail|post|upload|share|pay|reply)"
    rb"\b))[ !-.0-?A-Z^-~]|\xe2\x80.){1,200}\]\([^\s()]++\)\W*(?:\n|\Z))"
    rb"|\\item|[\"'`]|\+?+[ \t]*+[\"'`(\[{]"
    rb"|(?:assert|expect|const|let|var|def|return|yield|it|test|describe)\b"
    rb"|\w++[ \t]*+[=(:][ \t]*+[\"'`\[(])"
)
FEW_LEGAL, MANY_LEGAL = 2, 4  # different ones in a stretch, and with those around it
_LEADS_ELSEWHERE = lazy_regex(rb"[\w.+-]@[\w-]|https?://|`|\$\(|[~/]\.\w")


# Words for attacks, frauds, examples, and those who study or stop them, in 31 languages.
_ATTACKS = alternatives(
    r"""
    prompt[\x20-]?injections? jail\x20?breaks? red[-\x20]?team\w* adversar\w+ payloads?
    \battack\w* malicious phish\w+ \bscam\w* classifiers? detect(?:s|ed|or|ors|ion)\b
    test\x20(?:suite|cases?|set) \bexpected\b \bverdict\b \bexamples?\b \bsamples?\b owasp
    exploit\w* \bthreats?\b guardrails? saniti[sz]\w+ \bfilter\w* vulnerab\w+ \bfraud\w*
    \binjected\b untrusted false\x20(?:positives?|alarms?) \bvictims?\b researchers? mitigat\w+
    bounty post-?mortem proofs?\x20of\x20concept poison(?:ed|ing) impersonat\w+
    social\x20engineering threat\x20model \bsmuggl\w+ \bbenchmarks?\b data\x20?sets?
    defen[cs]es?\b describe\( angriff\w* angreif\w+ beispiel\w* betrüg\w* opfer\b
    forsch(?:er|ung)\w* schwachstelle\w* gefälscht\w* fehlalarm\w* datens(?:ä|a)tz\w* vergift\w+
    schadhaft\w* attaqu\w+ exemples? escroqu\w* hameçonnage victimes?\b chercheu\w+
    vulnérabilit\w+ faux\x20positifs? malveillant\w* empoisonn\w+ pirat(?:e|es|age)\b filtres?\b
    jeux?\x20de\x20données ataques? atacante\w* ejemplos? exemplos? estafa\w* golpes?\b
    v(?:í|i)ctimas?\b v(?:í|i)timas?\b iny\w{0,2}ecci\w+ injeç(?:ão|ões) investigador\w*
    pesquisador\w* envenen\w+ malicios\w+ falsos?\x20positivos? fraude\w* attacch?[io]\b
    attaccant\w+ esemp[io] iniezion\w+ truff\w+ vittim[ae]\b ricercator\w+ атак злоумышлен уязвим
    исследовател инъек пример мошен жертв 攻击 注入 攻撃 示例 例如 例えば 詐欺 诈骗 インジェクション
    研究者
    研究人员 漏洞 脆弱性 受害 被害 공격 인젝션 주입 예시 사기 연구 취약 피해 هجوم حقن مثال
    احتيال الباحث ثغر ضحي हमले इंजेक्शन उदाहरण धोख शोधकर्ता हमलावर शिकार pentest\w*
    penetration\x20test \bfooled\b \bcvss\b regression\x20tests?
    hidden\x20(?:text|instruction|prompt) white\x20text honeypot exfiltrat\w+
    versteckte\w*\x20(?:text|anweisung|befehl) weiße[rn]?\x20schrift sicherheitsvorf\w+ schulung
    texte\x20(?:caché|blanc|invisible) incident\x20de\x20sécurité sensibilisation
    test\x20d.intrusion texto\x20(?:oculto|invis(?:í|i)ble|invisível|blanco|branco)
    incidente\x20d[ei]\x20s[ei]\w+ detec[ct]\w+ testo\x20(?:nascosto|invisibile|bianco)
    sensibilizzazione скрыт\w+\x20текст пентест инцидент ложн\w+\x20срабат 隐藏文字 白色文字
    渗透测试 越狱 误报 检测 复盘 红队 钓鱼 隠し文字 白文字 検知 脱獄 演習 レッドチーム
    フィッシング 숨겨진 흰\x20글씨 탐지 오탐 탈옥 모의 레드팀 피싱 تصيد اختراق توعية छिपा
    फ़िशिंग
    \baanval\w* \bvoorbeeld\w* \w*injectie \bslachtoffer\w* \boplicht\w* \bkwaadaardig\w*
    \bkwetsba\w+ \bonderzoeker\w* \bsald(?:ı|i)r \benjeksiyon\w* \Börnek\b \Börneğ \bkurbanı
    \bdoland(?:ı|i)r \bzararl(?:ı|i) \bhyökkä \w*injektio\w* \besimerk\w+ \buhrien\b \buhreja\b
    \bhuijau\w* \bhaavoittuv\w+ \bangre[bp]\w* \bangrip\w* \be(?:x|ks)empel\w* \bsvindel\w*
    \bbedräger \bbedrägar \bbedrager\w* \bsårbarhe \batak(?:u|i|iem)?\b \batakuj \bprzykład
    \bwstrzyk \boszust\w* \bofiara\w* \bofiary\b \bzłośliw \bpodatnoś \Bútok(?:u|y|em)?\b \Bútočn
    \bpříklad(?:u|y|em)?\b \bpríklad(?:u|y|om)?\b \bpodvod(?:u|y|em|om)?\b \bpodvodn(?:í|i)k
    \bobětem \bobeťami \bzraniteľ \bzraniteln\w* \Bškodliv\w* приклад зловмис шахрай вразлив
    дослідник нападател измам Атак Пример Приклад Злоумышл Уязвим Исследоват Жертв Мошен Инъек
    \BÖrnek\b \BÖrneğ \BÚtok(?:u|y|em)?\b \BÚtočn \batacul\w* \batacuri\w* \batacator\w*
    \bexemplu\w* \bvictim\w+ \Bînșelăc \Bînșelăto \binjecci \btámadás \btámadó
    \bpéldák \bpéldája \bpéldát \Báldozat\w*
    \bcsalás \bcsalók \bsebezhet επίθεσ επιθέσ Επίθεσ παράδειγμα Παράδειγμα θύματα ευπάθει εξαπάτ
    \btấn\x20công\b \bTấn\x20công\b \blỗ\x20hổng\b \bnạn\x20nhân\b \blừa\x20đảo\b \bserangan\w*
    \bpenyerang\w* \bcontoh\w* \bkorban\w* \bpenipuan\w* \bkerentanan\w* \binjeksi\w* התקפ תקיפ דוגמ
    הזרק קורבן حمله مهاجم تزریق قربانی โจมตี ตัวอย่าง เหยื่อ
    """
)
# The same as they are in the folded reading, where a word begins with a plain letter.
_ATTACKS += rf"|{fold(_ATTACKS.encode())[0].decode()}".replace(r"\B", r"\b")
# Words of licences, contracts and statutes, which tell their reader in every sentence what to do.
_LAW = alternatives(
    r"""
    licen[cszç]\w* lizenz\w* licenc\w* licentie\w* copyright raihana manatārua urheber\w*
    auteursrecht\w* diritt[oi]\x20d.autore droits?\x20d.auteur derechos?\x20de\x20autor
    direitos?\x20autora\w+ upphovsr\w+ avtorsk\w+ autorsk\w+ praw\w*\x20autorsk\w+
    \b(?:derivative|adapted|licensed)\x20(?:works?|material) \bopera\b \bopere\b \bœuvres?\b
    \bobras?\b \bwerke?s?\b \bdiela\b \bdela\b \butw[oó]r\w* \bgradiv\w+
    \b(?:terms?|condi[tczç]i?\w{3,6}|termin[ie]|termes|términos|termos|bedingung\w*)\b
    distribu\w+ ripro(?:dur|duz)\w+ repro(?:du[cz]|dui)\w+ verbreit\w+ vervielf\w+
    clau(?:se|sol|sul|su)\w* contra[ct]t?\w* vertr[aä]g\w* agreements?\b hereby herein pursuant
    ai\x20sensi gemäß conform[ée]ment de\x20conformidad in\x20accordance liabilit\w+ haftung
    garan[tzc]\w+ responsab\w+ giurisdi\w+ jurisdi\w+ juridi\w+ regolament\w+ verordnung
    reglament\w+ r[èe]glement\w* лиценз автор договор услови ترخيص مرخص المصن المواد حقوق 许可
    著作 条款 ライセンス 著作権 라이선스 저작 رخص \bart(?:icol|icle|ikel|ícul|\.)
    \bpresente\x20licen \bthis\x20licen
    """
)


def without_ai(text: str) -> str:
    """A text without the Italian preposition `ai`, as in `ai sensi`, which names no model."""
    return _ITALIAN_AI.sub("", text)


_ITALIAN_AI = lazy_regex(
    r"\b[Aa]i\b(?= (?:fini|sensi|termini|diritti|propri|suoi|tuoi|loro|[a-z]{3,}i\b))"
)


def is_legal(data: bytes, start: int, end: int) -> bool:
    """True for a stretch in the language of law, within a legal text, that names no address."""
    if _LEADS_ELSEWHERE.search(data, start, end):
        return False
    within = {match.words.lower()[:6] for match in cached_finder(_LAW).finditer(data, start, end)}
    if len(within) < FEW_LEGAL:
        return False
    low, high = max(0, start - BEFORE_BYTES), min(len(data), end + AFTER_BYTES)
    around = {match.words.lower()[:6] for match in cached_finder(_LAW).finditer(data, low, high)}
    return len(around) >= MANY_LEGAL


def find_topics(data: bytes, start: int, end: int) -> dict[bytes, bytes]:
    """Find the words about attacks around a stretch, by their first letters."""
    low, high = max(0, start - BEFORE_BYTES), min(len(data), end + AFTER_BYTES)
    around: dict[bytes, bytes] = {}
    for at in range(low - low % TOPIC_BYTES, high, TOPIC_BYTES):
        if start <= at and at + TOPIC_BYTES <= end:
            continue
        before = data[at - 1 : at] or b"\n"
        for first, last, word in _topic_words(before + data[at : at + TOPIC_BYTES + WORD_BYTES]):
            if (low <= at + first and at + last <= start) or (
                end <= at + first and at + last <= high
            ):
                around.setdefault(word[:6], word)
    return around


@lru_cache(16)  # matches next to each other are rated in turn
def _topic_words(block: bytes) -> list[tuple[int, int, bytes]]:
    """The topic words that begin in a block, each with its range, in small letters.

    Args:
        block: the byte before it, the block, and some bytes behind it.
    """
    return [
        (match.span[0] - 1, match.span[1] - 1, match.words.lower())
        for match in cached_finder(_ATTACKS).finditer(block, 1, len(block))
        if match.span[0] <= TOPIC_BYTES
    ]


def is_shown_as_example(data: bytes, start: int) -> bool:
    """True if the text from here is in a fence, table, literal, or list of quotes or titles."""
    first = data.rfind(b"\n", max(0, start - LINE_STEP_BYTES), start) + 1
    if not first and start > LINE_STEP_BYTES:  # a very long line, which may have many examples
        first = _far_line_start(data, start - start % LINE_STEP_BYTES)
    return _EXAMPLE_LINE.match(data[first : first + QUOTE_BYTES]) is not None or _is_fenced(
        data, start
    )


@lru_cache(2)
def _far_line_start(data: bytes, step: int) -> int:
    return data.rfind(b"\n", 0, step) + 1


def is_marked(data: bytes, start: int, end: int) -> bool:
    """True if a stretch is marked as code, in Markdown or HTML."""
    low = max(0, start - FENCE_BYTES)  # a match may begin with the mark
    before = data[max(low, data.rfind(b"\n", low, start) + 1) : start + 1]
    behind = data[end : end + QUOTE_BYTES]
    in_span = before.count(b"`") % 2 == 1 and b"`" in behind.partition(b"\n")[0]
    opened = max(data.rfind(tag, low, start) for tag in (b"<code", b"<pre"))
    is_tagged = opened > max(data.rfind(tag, low, start) for tag in (b"</code", b"</pre"))
    return in_span or _is_fenced(data, start) or (is_tagged and b"</" in behind)


def _is_fenced(data: bytes, start: int) -> bool:
    before = data[max(0, start - FENCE_BYTES) : start]
    if not any(mark[:1] in before and mark in before for mark in (b"```", b"~~~")):
        return False
    return len(_FENCE.findall(before)) % 2 == 1


def unquote(data: bytes, start: int, end: int) -> str | None:
    """A stretch without its quotes, if it reports somebody else's words; None otherwise.

    A quote is reported if a verb of saying is before it in its sentence, or right after it. A
    quoted value of a record has no other speaker.
    """
    low = max(0, start - QUOTE_BYTES)
    low = max(low, data.rfind(b"\n", low, start) + 1)
    before = data[low:start].decode("utf-8", "ignore")
    stretch = data[start:end].decode("utf-8", "ignore")
    text = before + stretch + data[end : end + QUOTE_BYTES].decode("utf-8", "ignore")
    at, last = len(before), len(before) + len(stretch)
    outside = []
    is_reported = False
    for quote in _QUOTED.finditer(text):
        if quote.end() <= at or quote.start() >= last:
            continue
        ahead, behind = text[: quote.start()], text[quote.end() : quote.end() + BEHIND_LETTERS]
        if _BEFORE_VALUE.search(ahead):
            return None
        around = f"{_SENTENCE_END.split(ahead)[-1]} {_SENTENCE_END.split(behind)[0]}"
        is_reported = is_reported or _REPORTING.search(around) is not None
        outside.append(text[at : max(at, quote.start())])
        at = quote.end()
    return " ".join([*outside, text[at:last]]) if is_reported else None


_QUOTED = lazy_regex(
    r"\"[^\"\n]{8,600}\"|`[^`\n]{8,600}`|(?<!\w)'[^'\n]{8,600}'(?!\w)"
    r"|\u2018[^\u2018\n]{8,600}\u2019(?!\w)|\u201c[^\u201c\u201d]{4,600}\u201d|\u201e[^\u201c\u201d]{8,600}[\u201c\u201d]"
    r"|\u00ab[^\u00ab\u00bb]{8,600}\u00bb|\u00bb[^\u00ab\u00bb]{8,600}\u00ab"
    r"|[\u300c\u300e][^\u300c-\u300f]{4,600}[\u300d\u300f]"
)
_BEFORE_VALUE = lazy_regex(r"(?:[\"'`\]}]\s*[:,]|[=({\[])\s*$")
_SENTENCE_END = lazy_regex(r"[.!?\u3002\uff01\uff1f]\s*|\n")
# Verbs of saying, and what else is before what somebody said: whole words.
_SAYING = alternatives(
    r"""
    sa(?:id|ys) wrote writes reads asked asks typed stated states contain(?:s|ed)
    includ(?:es|ed) claim(?:s|ed) posted pasted tried hid smuggled injected planted
    (?:told|instructed)\x20(?:the|it|our|my|him|her) warned quoted replied such\x20as
    something\x20like for\x20example e\.g\. went goes sagt\w* schr(?:ieb|eib)\w* steht stand
    hie(?:ß|ss) hei(?:ß|ss)t lautet\w* bat fragte\w* enth(?:ält|ielt)\w* behauptet\w* etwa
    beispielsweise zum\x20beispiel z\.\x20?b\. dit disait disant écri(?:t|vait|vent) demandait
    contient contenait indiqu(?:e|ait) lisait affirm(?:e|ait) par\x20exemple du\x20genre
    dec[ií]a\w* dice dijo escrib(?:e|i[óo]|[ií]a) ped[ií]a conten[ií]a contiene rezaba pon[ií]a
    por\x20ejemplo dizia diz disse escrev(?:e|eu|ia) pedia continha contém por\x20exemplo diceva
    scri(?:ve|tto|sse|veva) chiede(?:va)? conteneva recita(?:va)? per\x20esempio написал\w*
    писал\w* говорит\w* сказал\w* просил\w* содержал\w* гласи\w* например вроде
    """
)
_REPORTING = lazy_regex(rf"(?i)\b(?:{_SAYING})\b|{topic_words.alternatives('REPORTING_PARTS')}")


# --- harmless ---------------------------------------------------------------------------
# Texts without parts of a public form, so that the classifier reads only the rest. A public key
# is made to be copied, pasted and sent; a line of documentation about the place of its index,
# llms.txt, asks for nothing. An order uses the same words, so a classifier takes both for one.

# A path of a file with a public key or a certificate, and no address.
_PUBLIC_FILE = lazy_regex(
    r"(?<![\w/\\:.~$%-])(?:(?<!@)|(?=[~/]))(?:[A-Za-z]:)?[\w/\\.~$%-]{0,120}?"
    r"(?:[\w-]\.(?:pub|crt)|\bknown_hosts|\bfullchain\.pem)(?![\w/\\-]|\.\w)"
)
_ADDRESS = lazy_regex(r"https?://[^\s\"'<>()\[\]]*[\w/]|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MORE = lazy_regex(
    rf"(?i)\b(?:{topic_words.alternatives('MORE')}|passw\w*|env\w*|id_\w+)\b|(?<!ssh-)\bagents?\b"
    r"|\.(?:env|aws|netrc|gnupg|kube|key|p12|pfx)\b|\.ssh\b(?!/authorized_keys)|\.pem\b"
    r"|\|\s*(?:ba|z)?sh\b",
)
# A line, or a sentence, that gives the place of a documentation's index, in no other words. Each
# word is read in one way: a row of numbers would take exponential time.
_INDEX_NOTICE = lazy_regex(
    rf"(?im)^[ \t>#*]*(?>(?:{topic_words.alternatives('INDEX_NOTICE')}|[0-9.]+|v[0-9][0-9.]*)\b"
    r"[ \t,:;()*_-]*){4,40}[\[(<`]{0,2}(?:https?://[^\s?#<>()\[\]`]*)?/?llms(?:-full)?\.txt[\])>`]{0,2}"
    r"(?:\(https?://[^\s?#<>()\[\]`]*/llms(?:-full)?\.txt\))?(?:,? in (?:markdown|plain text))?"
    r"[.!]?[ \t]*$",
)


def without_harmless(text: str) -> str:
    """A text whose public parts are replaced by other words; the same text if it has none."""
    if "llms" in text:
        text = _INDEX_NOTICE.sub("The page has an index.", text)
    if not _PUBLIC_FILE.search(text):
        return text
    return "".join(map(_without_public_file, text.splitlines(keepends=True)))


def _without_public_file(line: str) -> str:
    bare, count = _PUBLIC_FILE.subn("LICENSE", line)
    bare = _ADDRESS.sub("the page", bare)
    return bare if count and not _MORE.search(bare) else line
