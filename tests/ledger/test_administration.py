from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from streamrouter.ids import secret_hash
from streamrouter.ledger import administration as admin
from streamrouter.ledger import invariants, rules, schema
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.sqlite_book import SqliteBook
from tests.ledger.books import DAY, NOON_NS, command, contents, finished, moment

USD = 1_000_000_000
AT = moment()


@pytest.fixture
def book(tables: Connection) -> Iterator[SqliteBook]:
    schema.set_meta(tables, "boot", 1)
    schema.set_meta(tables, "last_day", DAY)
    made = SqliteBook(tables, {})
    yield made
    made.write()
    assert invariants.check(tables) == []


def audit(book: SqliteBook) -> list[str]:
    return [action for (action,) in book.connection.execute("SELECT action FROM audit ORDER BY number")]


def test_an_account_is_made_changed_disabled_and_enabled(book: SqliteBook) -> None:
    made = admin.create_account(book, AT, "team-a", {"daily_input": 5, "models": ["gpt"], "unlimited": True})
    assert (made.name, made.daily_input, made.models, made.unlimited) == ("team-a", 5, ["gpt"], True)
    changed = admin.set_account(book, AT, "team-a", {"daily_input": None, "requests_per_minute": 3})
    assert (changed.daily_input, changed.requests_per_minute, changed.models) == (None, 3, ["gpt"])
    assert admin.set_account_status(book, AT, made.id, "disabled").status == "disabled"
    assert admin.set_account_status(book, AT, "team-a", "active").status == "active"
    assert audit(book) == ["account_created", "account_set", "account_status", "account_status"]


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 65, "a\n", "é"])
def test_a_name_must_be_plain(book: SqliteBook, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be an account's name"):
        admin.create_account(book, AT, name, {})


def test_a_name_is_taken_once(book: SqliteBook) -> None:
    admin.create_account(book, AT, "team-a", {})
    with pytest.raises(ValueError, match="already"):
        admin.create_account(book, AT, "team-a", {})


@pytest.mark.parametrize(
    "caps",
    [
        {"daily_input": -1},
        {"daily_input": True},
        {"daily_input": "5"},
        {"daily_input": 1 << 54},
        {"requests_per_minute": 0},
        {"models": "gpt"},
        {"models": [1]},
        {"unlimited": 1},
        {"colour": "red"},
    ],
)
def test_caps_are_checked_before_anything_is_written(book: SqliteBook, caps: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(caps))):
        admin.create_account(book, AT, "team-a", caps)
    assert book.account_named("team-a") is None and audit(book) == []


def test_unknown_names_say_where_to_look(book: SqliteBook) -> None:
    for act in (
        lambda: admin.set_account(book, AT, "nobody", {}),
        lambda: admin.set_account_status(book, AT, "nobody", "active"),
        lambda: admin.create_key(book, AT, "nobody", "main", "sk-", None, None),
        lambda: admin.credit(book, AT, "nobody", [("payment", 1)], None),
    ):
        with pytest.raises(LookupError, match="no account 'nobody'; see"):
            act()
    with pytest.raises(LookupError, match="no key"):
        admin.revoke_key(book, AT, "key_9")
    admin.create_account(book, AT, "team-a", {})
    with pytest.raises(ValueError, match="'active' or 'disabled'"):
        admin.set_account_status(book, AT, "team-a", "gone")  # type: ignore[arg-type]


def test_a_key_is_shown_once_and_kept_as_a_hash(book: SqliteBook) -> None:
    admin.create_account(book, AT, "team-a", {})
    key, secret = admin.create_key(book, AT, "team-a", "main", "sk-", ["gpt"], 4)
    assert secret.startswith("sk-") and key.hash == secret_hash(secret)
    assert key.display == f"sk-…{secret[-4:]}"
    book.write()
    assert secret not in str(contents(book.connection))
    with pytest.raises(ValueError, match="concurrency"):
        admin.create_key(book, AT, "team-a", "main", "sk-", None, 0)
    with pytest.raises(ValueError, match="models"):
        admin.create_key(book, AT, "team-a", "main", "sk-", "gpt", None)  # type: ignore[arg-type]


def test_rotating_hands_the_rights_on_and_revoking_twice_is_a_no_op(book: SqliteBook) -> None:
    admin.create_account(book, AT, "team-a", {})
    old, _ = admin.create_key(book, AT, "team-a", "main", "sk-", ["gpt"], 4)
    new, secret = admin.rotate_key(book, AT, old.id, "sk-")
    assert (new.models, new.concurrency, new.surface, new.replaces) == (["gpt"], 4, "main", old.id)
    assert (old.status, old.revoked_ns) == ("revoked", NOON_NS) and secret
    assert admin.revoke_key(book, AT, old.id) is old
    with pytest.raises(ValueError, match="create a new key"):
        admin.rotate_key(book, AT, old.id, "sk-")
    assert audit(book).count("key_revoked") == 1


def test_a_top_up_with_a_fee_is_two_entries_and_one_credit(book: SqliteBook) -> None:
    admin.create_account(book, AT, "team-a", {})
    done = admin.credit(book, AT, "team-a", [("payment", 10_500_000_000), ("fee", -500_000_000)], "invoice-1")
    assert (done.account.credited, len(done.entries), done.repeated) == (10 * USD, 2, False)
    again = admin.credit(book, AT, "team-a", [("payment", 10_500_000_000), ("fee", -500_000_000)], "invoice-1")
    assert (again.entries, again.repeated, again.account.credited) == (done.entries, True, 10 * USD)
    with pytest.raises(ValueError, match="another booking"):
        admin.credit(book, AT, "team-a", [("payment", USD)], "invoice-1")
    assert admin.credit(book, AT, "team-a", [("payment", USD), ("fee", 0)], None).account.credited == 11 * USD
    detail = book.connection.execute("SELECT detail FROM audit WHERE action = 'credited' LIMIT 1").fetchone()[0]
    assert orjson.loads(detail)["ref"] == "invoice-1"


def test_a_reference_belongs_to_its_account(book: SqliteBook) -> None:
    for name in ("team-a", "team-b"):
        admin.create_account(book, AT, name, {})
        assert not admin.credit(book, AT, name, [("payment", USD)], "same").repeated


def test_no_more_can_be_taken_back_than_is_neither_spent_nor_reserved(book: SqliteBook) -> None:
    admin.create_account(book, AT, "team-a", {})
    key, _ = admin.create_key(book, AT, "team-a", "main", "sk-", None, None)
    admin.credit(book, AT, "team-a", [("payment", USD)], None)
    first: Any = rules.reserve(book, command(key_id=key.id, prepaid=True), AT)
    rules.settle(book, first.id, finished(), NOON_NS)
    rules.reserve(book, command(key_id=key.id, prepaid=True), AT)
    account = book.account_named("team-a")
    assert account is not None
    free = USD - account.spent - account.reserved
    with pytest.raises(ValueError, match=r"neither spent nor reserved"):
        admin.credit(book, AT, "team-a", [("refund", -free - 1)], None)
    assert admin.credit(book, AT, "team-a", [("refund", -free)], None).account.credited == USD - free


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "nothing to book"),
        ([("fee", 0)], "nothing to book"),
        ([("gift", 5)], "an entry is one of"),
        ([("payment", -5)], "wrong sign"),
        ([("fee", 5)], "wrong sign"),
        ([("refund", 5)], "wrong sign"),
        ([("payment", 1 << 63)], "cannot pass"),
        ([("payment", 1 << 62), ("payment", 1)], "cannot pass"),
    ],
)
def test_entries_that_make_no_sense_are_refused(book: SqliteBook, entries: Any, message: str) -> None:
    admin.create_account(book, AT, "team-a", {})
    with pytest.raises(ValueError, match=message):
        admin.credit(book, AT, "team-a", entries, None)


def test_an_accepted_day_is_audited(book: SqliteBook) -> None:
    assert admin.accept_day(book, AT) == DAY
    assert audit(book) == ["day_accepted"]
