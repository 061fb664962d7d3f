"""What every administration verb is made of: the desk that it works on, strict arguments, its error, plain JSON values.

The verbs are in verbs.py (accounts, keys, money) and bookkeeping.py (the ledger itself: reports, checks, backups).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from streamrouter.config.schema import Config
from streamrouter.errors import StreamrouterError
from streamrouter.ledger import reads
from streamrouter.ledger.ledger import Ledger
from streamrouter.ledger.records import Account

COMMAND_LINE = "command line"
Pending = Callable[[], Awaitable[dict[str, Any]]]  # what a reload would change (process/reload.py)
StopStreams = Callable[[str], int]  # stops the streams of a key (by its id) and says how many
_EXACT_IN_A_DOUBLE = 2**53
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Ref = Annotated[str, Meta(min_length=1, max_length=255)]


class AdminError(StreamrouterError):
    """A verb that was not carried out: ``code`` for programs (``docs/cli.md``), ``message`` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Recent(Struct, frozen=True):
    """What the books do not keep of a request: when the upstream's status came, and which upstreams were tried."""

    answer_ms: int | None
    attempts: Sequence[tuple[str, str]]


class Streams(Protocol):
    """The requests of a running server: those in flight, and what is remembered of the last ones."""

    def listed(self) -> list[dict[str, Any]]:
        """Every one of them, as JSON."""

    def stop(self, request_id: str) -> bool:
        """End one with the error ``stopped_by_admin``. False: it is not in flight."""

    def recent(self, request_id: str) -> Recent | None:
        """What is remembered of one that is over, None where it is not (any more)."""


class Desk(Struct, frozen=True):
    """What the verbs work on. ``stop_streams`` and ``streams`` are None where nothing is being served (the command
    line alone).

    ``actor`` is in whose name they are carried out, as the audit log tells it.
    """

    ledger: Ledger
    config: Config
    stop_streams: StopStreams | None = None
    actor: str = COMMAND_LINE
    streams: Streams | None = None
    pending: Pending | None = None


class Args(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments refuse what they do not know; a verb about everything has none."""


class UserName(Args, frozen=True):
    """A verb about one account, by name."""

    user: Text


class Verb(Struct, frozen=True):
    """One row of the table: the arguments it takes and what carries it out."""

    args: type[Args]
    run: Callable[[Desk, Any], Awaitable[Any]]


def number(value: Any) -> Any:
    """A JSON reader that keeps numbers as doubles would round what is above 2^53: that leaves as a string."""
    return str(value) if isinstance(value, int) and abs(value) > _EXACT_IN_A_DOUBLE else value


def when(unix_ns: int) -> str:
    """A moment as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_ref(ref: str | None) -> None:
    """ValueError for a reference that is none."""
    if ref is not None and not (ref.isascii() and ref.isprintable()):
        raise ValueError("a ref is 1 to 255 printable ASCII characters")


async def find(ledger: Ledger, name: str) -> Account:
    """The account by name or id. LookupError if there is none."""
    return await ledger.ask(lambda raw: reads.account_named(raw, name))
