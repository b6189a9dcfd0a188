"""Labels: what a tool does, as far as its definition tells."""

import pytest
from hypothesis import given

from pipeguard.detect.flows.tool_labels import Label, find_labels, make_tool, meanings
from pipeguard.firewall.protocol.json_values import JsonObject
from tests.fuzz.budget import tried
from tests.fuzz.values import texts

MAIL = Label.READS_PRIVATE | Label.READS_PERSONAL | Label.TAKES_IN


def takes(*names: str) -> JsonObject:
    properties: JsonObject = {name: {"type": "string"} for name in names}
    return {"inputSchema": {"type": "object", "properties": properties}}


@pytest.mark.parametrize(
    ("name", "definition", "labels"),
    [
        ("read_file", takes("path"), Label.READS_PRIVATE),
        ("searchMessages", takes("q"), MAIL),
        ("get_env", takes(), Label.READS_SECRET),
        ("vault_read", takes("path"), Label.READS_SECRET),
        ("fetch", takes("url"), Label.TAKES_IN | Label.SENDS | Label.OUTSIDE),
        ("http_post", takes("url", "body"), Label.SENDS | Label.OUTSIDE),
        ("notify_team", takes("channel", "text"), Label.SENDS),
        ("run_command", takes("command"), Label.RUNS),
        ("save_memory", takes("fact"), Label.KEEPS),
        ("add_numbers", takes("a", "b"), Label.NONE),
        ("convert_time", takes("from", "zone"), Label.NONE),
        ("echo", None, Label.NONE),
        ("delete_email", takes("id"), Label.UNDOES),
        ("make_payment", takes("account", "amount"), Label.UNDOES),
        ("set_policy", takes("auto_approve", "audit_log"), Label.GUARDS),
        ("write_file", takes("path", "content"), Label.WRITES),
        ("create_issue", takes("title", "body"), Label.SENDS),
        (
            "slip",
            takes("month") | {"description": "Text of my payslip"},
            Label.READS_PRIVATE | Label.READS_PERSONAL,
        ),
        ("resolve_dns", takes("fqdn"), Label.TAKES_IN | Label.SENDS | Label.OUTSIDE),
        ("publish_event", takes("broker", "payload"), Label.SENDS | Label.OUTSIDE),
    ],
)
def test_what_a_tool_does_is_told_by_its_definition(
    name: str, definition: JsonObject | None, labels: Label
) -> None:
    assert find_labels(name, definition) == labels


@pytest.mark.parametrize(
    ("name", "description", "labels"),
    [
        ("agenda", "Shows the appointments of the user. And more.", Label.READS_PERSONAL),
        ("address_book", "Lists the people whom the user knows", Label.READS_PERSONAL),
        ("hr_data", "Returns employees with their pay", Label.READS_PERSONAL),
        ("kv", "Looks a credential up in the store", Label.READS_SECRET),
        ("support_queue", "Lists what customers wrote", Label.TAKES_IN),
        ("captions", "Captions of an online video", Label.TAKES_IN),
        ("toot", "Publishes a status to everyone", Label.SENDS | Label.OUTSIDE),
        ("new_paste", "Puts text on a public paste site", Label.SENDS | Label.OUTSIDE),
        ("courier", "Dispatches a letter", Label.SENDS),
        ("remote_log", "Writes a line to the hosted log service", Label.SENDS | Label.OUTSIDE),
        ("open_case", "Opens a case at the external vendor", Label.SENDS | Label.OUTSIDE),
        ("tracker", "Where the user's telephone is", Label.READS_PERSONAL),
        ("plans", "Plans of operation. Classified.", Label.READS_PERSONAL),
        ("diary_tool", "Carries an entry of the diary over", Label.READS_PERSONAL),
        ("nightly", "Schedules a job", Label.KEEPS),
    ],
)
def test_a_tool_is_known_by_what_is_said_of_it(name: str, description: str, labels: Label) -> None:
    assert labels in find_labels(name, {"description": description})


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("list_events", "Lists public events in a city"),
        ("fetch", "Fetches a URL and returns the document"),
        ("get_release_notes", "Gets the release notes of a version"),
    ],
)
def test_what_is_published_is_not_private(name: str, description: str) -> None:
    assert not find_labels(name, {"description": description}) & Label.READS_PRIVATE


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("vault_kv_put", True),
        ("createSecret", True),
        ("set-password", True),
        ("get_secret", False),
        ("share_secret", False),
        ("save_note", False),
    ],
)
def test_what_is_there_to_be_given_secrets_is_known(name: str, holds: bool) -> None:
    assert bool(find_labels(name, None) & Label.HOLDS) is holds


def test_what_goes_to_a_sink_is_looked_up() -> None:
    names = ("http_post", "get_env", "read_file", "add_numbers")
    is_sink = [make_tool(name, None).is_sink for name in names]
    assert is_sink == [True, False, False, True]  # of the last, nothing tells what it does


# --- words of names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "enviar_correo",
        "nachrichtSenden",
        "envoyer-message",
        "inviaMessaggio",
        "отправить_письмо",
        "发送邮件",
        "メール送信",
        "메일_전송",
        "إرسال_رسالة",
        "संदेश_भेजें",
        "wyślij_wiadomość",
    ],
)
def test_what_sends_is_known(name: str) -> None:
    assert find_labels(name, None) & Label.SENDS


@pytest.mark.parametrize("name", ["公開掲示板に投稿", "publicar_en_foro_público"])
def test_what_everybody_may_see_is_known(name: str) -> None:
    assert find_labels(name, None) & Label.OUTSIDE


@pytest.mark.parametrize("name", ["tresor_lesen", "leer_secreto", "鍵を取得", "прочитать_секрет"])
def test_what_reads_secrets_is_known(name: str) -> None:
    assert find_labels(name, None) & Label.READS_SECRET


@pytest.mark.parametrize(
    "text", ["get_weather", "list the archives", "parameters of a page", "senderId", "run tests"]
)
def test_english_has_no_other_meaning(text: str) -> None:
    assert not meanings(text)


@tried(100)
@given(texts)
def test_any_text_has_an_answer(text: str) -> None:
    assert meanings(text) <= meanings(f"{text} senden") | {"send"}
