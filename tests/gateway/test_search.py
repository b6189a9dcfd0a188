"""Tools are found by what a user wants done; filters hold, and nobody gains by repeating words."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.gateway.search import Filter, ToolIndex, ToolText
from tests.fuzz.budget import tried

READ_FILE = ToolText(
    1, "filesystem", "read_text_file", "Read Text File",
    "Read the complete contents of a file from the file system as text.", "path head tail",
    effect="read",
)  # fmt: skip
WRITE_FILE = ToolText(
    2, "filesystem", "write_file", "",
    "Create a new file or completely overwrite an existing file with new content.", "path content",
    effect="write",
)  # fmt: skip
CREATE_PR = ToolText(
    3, "github", "create_pull_request", "", "Create a new pull request in a GitHub repository",
    "owner repo title body head base", effect="write",
)  # fmt: skip
LIST_PRS = ToolText(
    4, "github", "listPullRequests", "", "List pull requests", "owner repo state", effect="read"
)
FORECAST = ToolText(
    5, "weather", "get_forecast", "", "Get weather forecast for a location", "latitude longitude",
    effect="read",
)  # fmt: skip
TIME = ToolText(
    6, "time", "get_current_time", "", "Get current time in a specific timezones", "timezone",
    effect="read",
)  # fmt: skip
TOOLS = (READ_FILE, WRITE_FILE, CREATE_PR, LIST_PRS, FORECAST, TIME)


def index(*tools: ToolText) -> ToolIndex:
    made = ToolIndex()
    made.replace(tools)
    return made


def names(made: ToolIndex, query: str, only: Filter | None = None, limit: int = 5) -> list[str]:
    return [hit.tool.name for hit in made.search(query, limit, only)]


def test_a_tool_is_found_by_its_words_and_by_others_for_the_same() -> None:
    made = index(*TOOLS)
    assert names(made, "read a file")[0] == "read_text_file"
    assert names(made, "open a new PR")[0] == "create_pull_request"
    assert names(made, "will it rain in Oslo")[0] == "get_forecast"
    assert names(made, "what o'clock is it in Tokyo")[0] == "get_current_time"


def test_what_no_tool_is_about_finds_none() -> None:
    assert names(index(*TOOLS), "xyzzy") == []
    assert names(index(*TOOLS), " ?! ") == []
    assert ToolIndex().search("file", 5) == []


def test_filters_hold_before_anything_is_ranked() -> None:
    made = index(*TOOLS)
    assert names(made, "pull request", Filter(effects=["write"])) == ["create_pull_request"]
    assert names(made, "pull request file", Filter(servers=["filesystem"]), limit=1) == [
        "read_text_file"
    ]
    assert names(made, "request", Filter(keys=[4, 5])) == ["listPullRequests"]
    assert names(made, "pull request", Filter(servers=[])) == []


def test_a_hit_says_why() -> None:
    (first, *_) = index(*TOOLS).search("current timezone", 1)
    assert first.why == (("current", "name"), ("timezone", "description"))


def test_the_index_follows_the_tools() -> None:
    made = index(*TOOLS)
    renamed = FORECAST._replace(description="Tells the tides")
    made.replace([READ_FILE, renamed])
    assert names(made, "request") == []
    assert names(made, "tides") == ["get_forecast"]
    assert len(made) == 2
    made.replace([])
    assert names(made, "tides") == []


def test_words_that_are_repeated_gain_nothing() -> None:
    stuffed = ToolText(
        7, "seo", "best_tool", "", "weather forecast " * 200 + "weather weather weather", ""
    )
    assert names(index(*TOOLS, stuffed), "weather forecast")[0] == "get_forecast"


def test_a_server_is_first_for_its_own_name_whatever_others_say() -> None:
    thieves = [
        ToolText(10 + n, f"spam{n}", f"weather_{n}", "Weather", "weather " * n, "weather")
        for n in range(20)
    ]
    found = names(index(*TOOLS, *thieves), "weather", limit=5)
    assert found[0] == "get_forecast"


def test_clones_do_not_fill_an_answer() -> None:
    clones = [FORECAST._replace(key=10 + n, server=f"weather{n}") for n in range(20)]
    tides = ToolText(9, "sea", "tide_forecast", "", "Forecast of the tides at a harbour", "harbour")
    found = index(*clones, tides).search("forecast for a location", 5)
    assert [hit.tool.server for hit in found].count("sea") == 1


WORDS = st.text(alphabet=st.sampled_from("ab _-é読\U0001f600\n"), max_size=30)


@tried(30)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=5), WORDS)
def test_any_tools_can_be_searched_for_anything(
    fields: list[tuple[str, str, str]], query: str
) -> None:
    made = index(*[ToolText(n, *three) for n, three in enumerate(fields, 1)])
    for hit in made.search(query, 3):
        assert hit.tool.key in range(1, len(fields) + 1)
