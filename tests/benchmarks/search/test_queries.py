"""The queries keep their promises, as far as that can be checked without the servers."""

from collections import Counter

import pytest

from benchmarks.search.__main__ import gate
from benchmarks.search.queries import (
    Part,
    Query,
    Split,
    families,
    load,
    problems,
    shared_words,
    shares,
)
from benchmarks.search.scores import recall
from benchmarks.search.servers import definitions

FEWEST, FEWEST_PARAPHRASES = 330, 90
TOOL = {
    "name": "archiveCards",
    "title": "Put away",
    "description": "Sends a card to the archive.",
    "inputSchema": {"type": "object", "properties": {"boardId": {"description": "Its wall."}}},
}


def test_there_are_enough_queries_of_each_kind_and_none_twice() -> None:
    queries = load()
    assert len({query.ask for query in queries}) == len(queries) >= FEWEST
    parts = Counter(query.part for query in queries)
    assert set(parts) == set(Part)
    assert parts[Part.PARAPHRASE] >= FEWEST_PARAPHRASES
    assert max(shares(queries).values()) <= 0.08
    halves = Counter((query.part, query.split) for query in queries)
    for part in Part:
        train, test = halves[part, Split.TRAIN], halves[part, Split.TEST]
        assert min(train, test) >= 7


def test_the_families_name_tools_for_each_need() -> None:
    several = next(query for query in families() if query.part is Part.SEVERAL)
    assert several.needs == (("git/git_add",), ("git/git_commit",), ("git/git_status",))
    assert recall(several, ["git/git_commit", "git/git_log"]) == pytest.approx(1 / 3)
    assert all(query.best for query in families() if query.part is not Part.NONE)
    assert sum(query.part is Part.NONE for query in families()) >= 60


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.exhaustive  # it starts every server of the benchmark, for a minute of CPU
def test_no_peer_finds_more_of_any_part_of_the_half_that_nothing_was_tuned_on() -> None:
    assert gate(definitions(), load()) == 0


def test_words_of_one_stem_are_shared_wherever_the_tool_has_them() -> None:
    ask = "archiving a sending board and putting it on walls"
    assert shared_words(ask, "trello/archiveCards", TOOL) == ["archiving", "sending", "board"]
    assert shared_words("Trello", "trello/archiveCards", TOOL) == ["trello"]
    assert shared_words("get rid of it for the team", "trello/archiveCards", TOOL) == []


def test_what_is_wrong_with_a_query_is_told() -> None:
    queries = [
        Query("shelve the card", Part.PARAPHRASE, ("trello/archiveCards",), ()),
        Query("burn it", Part.PLAIN, ("trello/burn",), ("trello/archiveCards",)),
        Query("burn it", Part.PLAIN, ("trello/archiveCards",), ("trello/archiveCards",)),
    ]
    assert list(problems(queries, {"trello": [TOOL]})) == [
        "'burn it' is there 2 times",
        "'shelve the card' shares card with trello/archiveCards",
        "'burn it': no server has trello/burn",
        "'burn it': has no best tool, or one tool twice",
        "trello has 100.0% of the queries",
    ]
    assert queries[1].grade("trello/burn") == 2
    assert queries[1].grade("trello/archiveCards") == 1
    assert queries[1].grade("trello/other") == 0
