"""The queries hold what they promise, as far as that is seen without the servers."""

from collections import Counter

from benchmarks.search.queries import Part, Query, Split, load, problems, shared_words, shares

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
        assert 0.4 < train / (train + test) < 0.6


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
