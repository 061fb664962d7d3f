"""Acts of administration on a book: accounts, keys, money. Each checks first, then writes, and leaves a line of audit.

They run inside the writer's transaction, so caps and balances change between two requests, never within one. Unknown
names raise LookupError, values that cannot be taken ValueError; both say what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

from msgspec.structs import astuple

from streamrouter.ids import display_form, new_secret, record_id, secret_hash
from streamrouter.ledger import rotations
from streamrouter.ledger.book import Moment
from streamrouter.ledger.connection import Connection
from streamrouter.ledger.denials import SECOND_NS
from streamrouter.ledger.records import Account, Credit, Entry, EntryKind, Key
from streamrouter.ledger.sqlite_book import SqliteBook
from streamrouter.policy.money import nano_to_usd

MOST = 1 << 53  # a cap above it would not survive JSON, and is no cap
MOST_USD = 1 << 62
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_COUNTS = ("input_per_request", "output_per_request", "daily_input", "daily_output", "requests_per_minute")
_SELECT_ENTRIES = (
    "SELECT id, account_id, kind, amount, ref, created_ns FROM entry WHERE account_id = ? AND ref = ? ORDER BY rowid"
)
_KEY_MADE_BY = "SELECT id FROM api_key WHERE account_id = ? AND ref = ?"
_ACTIVE_KEYS = "SELECT count(*) FROM api_key WHERE account_id = ? AND status = 'active'"
_STOPPED = """SELECT 1 FROM audit WHERE number > (SELECT max(number) FROM audit) - 1000
    AND action = 'key_stopped' AND subject = ? LIMIT 1"""
_INSERT_ENTRY = "INSERT INTO entry (id, account_id, kind, amount, ref, created_ns) VALUES (?, ?, ?, ?, ?, ?)"


def create_account(book: SqliteBook, at: Moment, name: str, caps: dict[str, Any]) -> Account:
    """A new account; ``caps`` not given mean no cap."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} cannot be an account's name: 1 to 64 letters, digits, '.', '_', '-', '@' or '+'"
        )
    if book.account_named(name) is not None:
        raise ValueError(f"there is an account {name!r} already; choose another name")
    checked = _checked(caps)
    account = Account(id=record_id("acct", at.now_ns), name=name, created_ns=at.now_ns, **checked)
    book.add_account(account)
    book.audit(at, "account_created", account.id, {"name": name, **checked})
    return account


def set_account(book: SqliteBook, at: Moment, name: str, caps: dict[str, Any]) -> Account:
    """Change the caps that are named; None takes a cap away."""
    account = _account(book, name)
    checked = _checked(caps)
    for field, value in checked.items():
        setattr(account, field, value)
    book.audit(at, "account_set", account.id, checked)
    return account


def set_account_status(book: SqliteBook, at: Moment, name: str, status: Literal["active", "disabled"]) -> Account:
    """Enable or disable an account; live requests finish."""
    if status not in ("active", "disabled"):
        raise ValueError(f"an account is 'active' or 'disabled', not {status!r}")
    account = _account(book, name)
    account.status = status
    book.audit(at, "account_status", account.id, {"status": status})
    return account


def create_key(
    book: SqliteBook,
    at: Moment,
    account: str,
    surface: str,
    prefix: str,
    models: list[str] | None,
    concurrency: int | None,
    ref: str | None = None,
    most: int | None = None,
) -> tuple[Key, str]:
    """A new key and its secret, which is shown once and kept only as a hash.

    A ``ref`` that made a key before gives that key and "": nothing is made, and its secret is not known any more.
    ``most``: ValueError where the account has that many active keys.
    """
    owner = _account(book, account)
    if concurrency is not None:
        _check_count("concurrency", concurrency, least=1)
    _check_models(models)
    if ref is not None:
        earlier = _key_made_by(book, owner, ref)
        if earlier is not None:
            if (earlier.surface, earlier.models, earlier.concurrency) != (surface, models, concurrency):
                raise ValueError(f"the reference {ref!r} was used for another key of {owner.name}; use a new one")
            return earlier, ""
    if most is not None and _active_keys(book, owner) >= most:
        raise ValueError(f"{owner.name} has {most} active keys. Revoke one that is not used any more")
    return _new_key(book, at, owner.id, surface, prefix, models, concurrency, None, ref)


def set_key(book: SqliteBook, at: Moment, key_id: str, changes: dict[str, Any]) -> Key:
    """Change a key's ``models`` (None: the account's own list) or ``concurrency`` (None: no cap)."""
    key = _key(book, key_id)
    if key.status != "active":
        raise ValueError(f"the key {key.display} is revoked; create a new key instead")
    for name, value in changes.items():
        if name == "models":
            _check_models(value)
        elif name != "concurrency":
            raise ValueError(f"{name!r} of a key cannot be set; models and concurrency can")
        elif value is not None:
            _check_count(name, value, least=1)
        setattr(key, name, value)
    book.audit(at, "key_set", key.id, changes)
    return key


def note(book: SqliteBook, at: Moment, action: str, subject: str) -> None:
    """A line of audit of something that was done outside of the books."""
    book.audit(at, action, subject, {})


def revoke_key(book: SqliteBook, at: Moment, key_id: str) -> Key:
    """Refuse new requests of the key; live ones finish. Revoking twice changes nothing."""
    key = _key(book, key_id)
    if key.status == "active":
        key.status, key.revoked_ns = "revoked", at.now_ns
        book.audit(at, "key_revoked", key.id, {"display": key.display})
    return key


def stop_key(book: SqliteBook, at: Moment, key_id: str) -> None:
    """Say that the key's streams are to be stopped, to processes that have some of them."""
    key = _key(book, key_id)
    book.audit(at, "key_stopped", key.id, {"display": key.display})


def is_stopped(connection: Connection, key_id: str) -> bool:
    """Whether the streams of a key are to be stopped (one of the last thousand lines of the audit says so)."""
    return connection.execute(_STOPPED, (key_id,)).fetchone() is not None


def rotate_key(book: SqliteBook, at: Moment, key_id: str, prefix: str, grace_s: int = 0) -> tuple[Key, str]:
    """A new key with the rights of the old one, which is dead at once, or good for ``grace_s`` seconds more.

    Earlier keys that are still in such a time of grace end with the old one at the latest: a leak is closed by one
    rotation without grace.
    """
    old = _key(book, key_id)
    if old.status != "active":
        raise ValueError(f"the key {old.display} is revoked already; create a new key instead")
    if old.replaced_by is not None:
        raise ValueError(f"the key {old.display} was rotated already; rotate {old.replaced_by}, which replaced it")
    new, secret = _new_key(book, at, old.account_id, old.surface, prefix, old.models, old.concurrency, old.id)
    old.replaced_by = new.id
    ends_ns = at.now_ns + grace_s * SECOND_NS
    for key in (old, *rotations.predecessors(book, old, at.now_ns)):
        if grace_s == 0:
            revoke_key(book, at, key.id)
        elif key.expires_ns is None or key.expires_ns > ends_ns:
            key.expires_ns = ends_ns
            book.audit(at, "key_expires", key.id, {"display": key.display, "expires_ns": ends_ns})
    return new, secret


def credit(
    book: SqliteBook, at: Moment, account: str, entries: Sequence[tuple[EntryKind, int]], ref: str | None
) -> Credit:
    """Book money (signed nano-USD): a top-up of 10 with a fee on top is (payment, +10.50), (fee, -0.50).

    A ``ref`` that was booked before gives the earlier entries and adds nothing. ValueError where less would remain than
    is spent and reserved.
    """
    owner = _account(book, account)
    lines = [(kind, amount) for kind, amount in entries if amount]
    _check_entries(lines)
    if ref is not None:
        earlier = _entries(book, owner.id, ref)
        if earlier:
            if [(entry.kind, entry.amount) for entry in earlier] != lines:
                raise ValueError(f"the reference {ref!r} was used for another booking of {owner.name}; use a new one")
            return Credit(account=owner, entries=earlier, repeated=True)
    credited = owner.credited + sum(amount for _, amount in lines)
    if credited < owner.spent + owner.reserved:
        raise ValueError(
            f"{owner.name} has ${nano_to_usd(owner.credited - owner.spent - owner.reserved)} that is neither spent nor "
            "reserved; no more than that can be taken back"
        )
    if credited > MOST_USD:
        raise ValueError("a balance cannot pass 4.6 billion USD")
    made = [
        Entry(
            id=record_id("ent", at.now_ns), account_id=owner.id, kind=kind, amount=amount, ref=ref, created_ns=at.now_ns
        )
        for kind, amount in lines
    ]
    book.write()  # an account made in this same batch must be there before its entries refer to it
    book.connection.executemany(_INSERT_ENTRY, map(astuple, made))
    owner.credited = credited
    book.audit(at, "credited", owner.id, {"entries": lines, "ref": ref})
    return Credit(account=owner, entries=made)


def accept_day(book: SqliteBook, at: Moment) -> int:
    """Record that an operator took the wall clock's date as the ledger's."""
    book.audit(at, "day_accepted", str(at.day), {})
    return at.day


def _account(book: SqliteBook, name: str) -> Account:
    account = book.account_named(name)
    if account is None:
        raise LookupError(f"there is no account {name!r}; see: streamrouter user list")
    return account


def _key(book: SqliteBook, key_id: str) -> Key:
    key = book.key(key_id)
    if key is None:
        raise LookupError(f"there is no key {key_id!r}; see: streamrouter key list")
    return key


def _new_key(
    book: SqliteBook,
    at: Moment,
    account_id: str,
    surface: str,
    prefix: str,
    models: list[str] | None,
    concurrency: int | None,
    replaces: str | None,
    ref: str | None = None,
) -> tuple[Key, str]:
    secret = new_secret(prefix)
    key = Key(
        id=record_id("key", at.now_ns),
        account_id=account_id,
        surface=surface,
        hash=secret_hash(secret),
        display=display_form(secret, prefix),
        models=models,
        concurrency=concurrency,
        created_ns=at.now_ns,
        replaces=replaces,
        ref=ref,
    )
    book.add_key(key)
    book.audit(at, "key_created", key.id, {"account": account_id, "surface": surface, "replaces": replaces})
    return key, secret


def _key_made_by(book: SqliteBook, owner: Account, ref: str) -> Key | None:
    book.write()
    row = book.connection.execute(_KEY_MADE_BY, (owner.id, ref)).fetchone()
    return None if row is None else book.key(row[0])


def _active_keys(book: SqliteBook, owner: Account) -> int:
    book.write()
    (found,) = book.connection.execute(_ACTIVE_KEYS, (owner.id,)).fetchone()
    return int(found)


def _entries(book: SqliteBook, account_id: str, ref: str) -> list[Entry]:
    rows = book.connection.execute(_SELECT_ENTRIES, (account_id, ref))
    return [Entry(**dict(zip(Entry.__struct_fields__, row, strict=True))) for row in rows]


def _check_entries(lines: list[tuple[EntryKind, int]]) -> None:
    if not lines:
        raise ValueError("there is nothing to book: every amount is 0")
    for kind, amount in lines:
        if kind not in get_args(EntryKind):
            raise ValueError(f"an entry is one of {', '.join(get_args(EntryKind))}, not {kind!r}")
        if abs(amount) > MOST_USD:
            raise ValueError("an amount cannot pass 4.6 billion USD")
        if (kind == "payment" and amount < 0) or (kind in ("fee", "refund") and amount > 0):
            raise ValueError(
                f"a {kind} of ${nano_to_usd(amount)} has the wrong sign: payments add, fees and refunds take"
            )


def _checked(caps: dict[str, Any]) -> dict[str, Any]:
    for name, value in caps.items():
        if name in _COUNTS:
            if value is not None:
                _check_count(name, value, least=1 if name == "requests_per_minute" else 0)
        elif name == "models":
            _check_models(value)
        elif name != "unlimited":
            raise ValueError(f"{name!r} is not a cap; the caps are {', '.join(_COUNTS)}, models, unlimited")
        elif not isinstance(value, bool):
            raise ValueError("unlimited is true or false")
    return caps


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise ValueError(f"{name} is a whole number from {least} to {MOST}, or none")


def _check_models(value: Any) -> None:
    if value is not None and not (isinstance(value, list) and all(isinstance(model, str) for model in value)):
        raise ValueError("models is a list of model ids, or none for every model")
