"""What a tool does is told by its name in other languages as well."""

import pytest
from hypothesis import given

from pipeguard.detect.flows.tool_labels import Label, find_labels, meanings
from tests.fuzz.budget import tried
from tests.fuzz.values import texts


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
