"""Tokens of the gateway's clients: stored by their digests, valid until they end."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from pipeguard.errors import InputError
from pipeguard.state.audit import AuditFilter, rows
from pipeguard.state.store import open_store
from pipeguard.state.tokens import (
    MOST_TOKENS,
    PREFIX,
    TokenReader,
    TokenScope,
    are_required,
    create_token,
    reset_tokens,
    revoke_token,
    rotate_token,
    stored_tokens,
)

SCOPE = TokenScope(("git*",), ("git__get_*", "git/list"), "read", 60, manages=True)


def test_a_token_is_shown_once_and_stored_by_its_digest(path: Path) -> None:
    with open_store(path) as store:
        token = create_token(store, "ci", SCOPE)
        (stored,) = stored_tokens(store)
    assert token.startswith(PREFIX)
    assert (stored.name, stored.scope, stored.expires) == ("ci", SCOPE, "")
    assert stored.digest == sha256(token.encode()).digest()
    for file in path.parent.iterdir():
        assert token.encode() not in file.read_bytes()


def test_a_name_is_for_one_token_which_can_be_exchanged_and_ended(path: Path) -> None:
    with open_store(path) as store:
        first = create_token(store, "ci", SCOPE, by="kim")
        with pytest.raises(InputError, match="tokens rotate ci"):
            create_token(store, "ci", TokenScope())
        second = rotate_token(store, "ci", "kim")
        (stored,) = stored_tokens(store)
        assert first != second
        assert (stored.digest, stored.scope) == (sha256(second.encode()).digest(), SCOPE)
        revoke_token(store, "ci", "kim")
        assert stored_tokens(store) == []
        decided = [row.entry for row in rows(store, AuditFilter()) if row.entry.kind == "approval"]
        assert [entry.action for entry in decided] == ["create", "rotate", "revoke"]
        assert {(entry.tool, entry.client) for entry in decided} == {("ci", "kim")}
        assert "; ".join(SCOPE.describe_limits()) in decided[0].findings
        for change in (rotate_token, revoke_token):
            with pytest.raises(InputError, match="There are none"):
                change(store, "ci")


def test_tokens_are_needed_from_the_first_one_on_until_a_person_ends_that(path: Path) -> None:
    with open_store(path) as store:
        assert not are_required(store)
        create_token(store, "ci", SCOPE)
        revoke_token(store, "ci")
        assert are_required(store)
        assert stored_tokens(store) == []
        reset_tokens(store)
        assert not are_required(store)


def test_a_reader_sees_at_once_what_another_process_does(path: Path) -> None:
    told: list[str] = []
    reader = TokenReader(open_store(path), told.append)
    assert reader.digests() == {}
    assert not reader.are_required()
    with open_store(path) as store:
        token = create_token(store, "ci", SCOPE)
        assert reader.digests() == {"ci": sha256(token.encode()).digest()}
        assert reader.are_required()
        revoke_token(store, "ci")
        assert reader.digests() == {}
        assert reader.are_required()
    reader.close()
    assert told == []


def test_one_that_has_ended_is_not_valid(path: Path) -> None:
    now = datetime.now(UTC)
    with open_store(path) as store:
        create_token(store, "over", SCOPE, now - timedelta(seconds=1))
        create_token(store, "open", SCOPE, now + timedelta(days=1))
        assert [token.is_expired(token.expires) for token in stored_tokens(store)] == [True, True]
    reader = TokenReader(open_store(path), pytest.fail)
    assert set(reader.valid()) == {"open"}
    reader.close()


def test_a_store_that_is_gone_lets_nobody_in(path: Path) -> None:
    with open_store(path) as store:
        create_token(store, "ci", SCOPE)
    reader = TokenReader(open_store(path), pytest.fail)
    assert set(reader.valid()) == {"ci"}
    for file in path.parent.iterdir():
        file.unlink()
    assert reader.valid() == {}
    assert reader.are_required()
    reader.close()


@pytest.mark.parametrize("names", [[], ["ci"]])
def test_while_a_store_cannot_be_read_its_last_tokens_hold_and_it_is_told_once(
    path: Path, names: list[str]
) -> None:
    told: list[str] = []
    with open_store(path) as store:
        for name in names:
            create_token(store, name, SCOPE)
    reader = TokenReader(open_store(path), told.append)
    assert reader.are_required() == bool(names)
    path.rename(path.with_name("aside"))
    path.mkdir()
    assert [reader.are_required(), [*reader.valid()], reader.are_required()] == [True, names, True]
    assert len(told) == 1
    path.rmdir()
    path.with_name("aside").rename(path)
    with open_store(path) as store:
        for name in names:
            revoke_token(store, name)
    assert reader.valid() == {}
    assert reader.are_required() == bool(names)
    reader.close()


def test_there_is_an_end_to_their_number(path: Path) -> None:
    with open_store(path) as store, store.transaction():
        for number in range(MOST_TOKENS):
            store.connection.execute(
                "INSERT INTO tokens VALUES (?, x'00', '[]', '[]', 'read', 0, '', '', 0)",
                (f"{number}",),
            )
        with pytest.raises(InputError, match="revoke one first"):
            create_token(store, "one-more", SCOPE)
