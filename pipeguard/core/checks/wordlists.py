"""Words in what is supposed to be a secret, and in its name. Pure functions; knows no rule."""

from __future__ import annotations

import re
from functools import cache


def worded(body: bytes) -> int:
    """How many of the characters stand in what reads as words."""
    runs = (run.lower() for run in re.findall(rb"[A-Z]?[a-z]{3,}|[A-Z]{4,}", body))
    return sum(len(run) for run in runs if _is_word(run, share=0.6))


def reads_as_words(body: bytes, pattern: str) -> bool:
    """True for a long text that was put together of words, rather than drawn at random.

    Words that its pattern asks for do not count. Of 5,000 random texts of 36 to 120 characters 0.1
    to 4 % read so, the most of small letters alone.
    """
    if len(body) < LONG_TOKEN:
        return False
    expected = pattern.lower().encode()
    runs = [run.lower() for run in re.findall(rb"[A-Z]?[a-z]{4,}|[A-Z]{5,}", body)]
    words = [run for run in runs if run not in expected and _is_word(run, share=0.8)]
    has_no_digit = "0-9" in pattern and len(body) >= 40 and not re.search(rb"[0-9]", body)
    return len(words) > 1 or 5 * worded(body) >= 2 * len(body) or has_no_digit


LONG_TOKEN = 36  # characters; a shorter one has few words in it by which to tell


def _is_word(run: bytes, share: float) -> bool:
    """True where that share of its pairs of letters is common."""
    pairs = len(run) - 1
    return sum(run[at : at + 2] in _pairs() for at in range(pairs)) >= share * pairs


@cache
def _pairs() -> frozenset[bytes]:
    """The pairs of letters that are common in English and in names."""
    return frozenset(
        b"th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io "
        b"le ve co me de hi ri ro ic ne ea ra ce li ch ll be ma si om ur ca el ta la ns di fo ho "
        b"pe ec pr no ct us ac ot il tr ly nc et ut ss so rs un lo wa ge ie wh ee wi em ad ol rt "
        b"po we na ul ni ts mo ow pa im mi ai sh ir su id os iv ia am fi ci vi pl ig tu ev ld ry "
        b"mp fe bl ab gh ty op wo sa ay ex ke fr oo av ag if ap gr od bo sp rd do uc bu ei ov by "
        b"rm ep tt oc fa ef cu rn sc gi da yo cr cl du ga qu ue ff ba ey ls va um pp up lu go ht "
        b"ru ug lt pi au ck ew mu br bi pt ak pu ui ib ki rk ys ob ph ud mb ip ub rl gu dr ft wn "
        b"nu af my je nk sy ps".split()
    )


def is_calendar(body: bytes) -> bool:
    """A date or a time of day, whatever stands around it."""
    return _CALENDAR.search(body) is not None


_CALENDAR = re.compile(rb"(?:19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]|[0-9]{2}:[0-9]{2}:[0-9]{2}")


@cache
def public_names() -> frozenset[bytes]:
    """Words in the name of a key or token that everybody may see."""
    return frozenset(
        b"public pub publishable primary foreign partition sort cache idempotency next prev "
        b"previous page paging pagination continuation cursor sync csrf xsrf nonce state etag hash "
        b"hashed checksum digest sha fingerprint thumbprint object shard group routing map dict "
        b"lookup index unique composite surrogate natural node react theme color locale feature "
        b"path file dir folder uri endpoint field column schema prefix suffix length size count "
        b"limit max min num total ttl sequence seq query list device push resume progress cancel "
        b"correlation trace span request commit tree blob build version revision placeholder regex "
        b"change lock starting lifecycle purchase update refund pattern license test site "
        b"integrity resolved encrypted sealed".split()
    )


@cache
def weak_passwords() -> frozenset[bytes]:
    """What everybody types first, and what stands in every example."""
    return frozenset(
        b"postgres mysql mariadb mongo mongodb redis rabbitmq root admin administrator guest user "
        b"username letmein qwerty qwerty123 welcome test testing changeit toor docker sa scott "
        b"tiger hunter2 passw0rd p@ssw0rd p@ssword pass@word1 trustno1 foo bar baz pw pwd "
        b"developer local localhost postgrespw supersecret topsecret".split()
    )
