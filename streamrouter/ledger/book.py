"""What the rules see of a database: the rows of one batch, and the moment that the batch runs at."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from streamrouter.ledger.records import Account, Attempt, HoldRow, Key, UsageDay, UsageModel


class Book(Protocol):
    """The rows of one batch. What a rule changes in them is written back; what it does not change is not."""

    def account(self, account_id: str) -> Account | None:
        """The account, or None."""

    def key(self, key_id: str) -> Key | None:
        """The API key, or None."""

    def usage_day(self, account_id: str, day: int) -> UsageDay:
        """The account's day; made (all zero) where there is none yet."""

    def usage_model(self, account_id: str, day: int, key_id: str, model: str) -> UsageModel:
        """The day's row of one key and model; made where there is none yet."""

    def hold(self, hold_id: str) -> HoldRow | None:
        """The hold, whatever its state, or None."""

    def add_hold(self, row: HoldRow) -> None:
        """A new hold."""

    def attempts(self, key_id: str, name: str) -> list[Attempt]:
        """What was admitted for that key under that Idempotency-Key."""

    def add_attempt(self, attempt: Attempt) -> None:
        """A request was admitted under an Idempotency-Key; earlier attempts of that name are forgotten."""


class Moment(Struct, frozen=True):
    """When and under which settings a batch runs: Unix nanoseconds, the ledger's day, this process's boot number.

    ``actor``: in whose name an act of administration runs ("" is the program itself).
    """

    now_ns: int
    day: int
    boot: int
    lease_tokens: int
    actor: str = ""


class Needs:
    """The rows that a batch will look at, as far as its operations can tell: what is fetched for it in one go."""

    __slots__ = ("holds", "keys")

    def __init__(self) -> None:
        self.keys: set[str] = set()  # with their accounts, and the days of these
        self.holds: set[str] = set()
