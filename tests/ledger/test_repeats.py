"""What a second request under one Idempotency-Key comes to, by the state of the first."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from streamrouter.ledger import repeats, rules
from streamrouter.ledger.book import Moment
from streamrouter.ledger.denials import Denied
from streamrouter.ledger.records import Hold, Idempotency, Stored
from streamrouter.policy.endings import released
from tests.ledger.books import DAY, NOON_NS, DictBook, account, book, command, finished, moment

WANTED = Idempotency("once", b"a" * 32)
OTHER = Idempotency("once", b"b" * 32)


def ask(of: DictBook, wanted: Idempotency = WANTED, at: Moment | None = None, **fields: Any) -> Hold | Denied | Stored:
    return rules.reserve(of, command(idempotency=wanted, **fields), at or moment())


def first(of: DictBook, **fields: Any) -> Hold:
    hold = ask(of, **fields)
    assert isinstance(hold, Hold)
    return hold


def code(outcome: Hold | Denied | Stored) -> str:
    assert isinstance(outcome, Denied)
    return outcome.code


def test_while_the_first_runs_the_second_waits() -> None:
    of = book()
    first(of)
    second = ask(of)
    assert code(second) == "idempotency_in_progress"
    assert isinstance(second, Denied) and second.retry_after_s == 1
    assert len(of.holds) == 1


def test_another_request_under_the_same_key_is_refused_running_or_done() -> None:
    of = book()
    hold = first(of)
    assert code(ask(of, OTHER)) == "idempotency_key_reused"
    rules.settle(of, hold.id, finished(), NOON_NS)
    assert code(ask(of, OTHER)) == "idempotency_key_reused"


def test_a_stored_answer_is_given_again_and_holds_nothing() -> None:
    of = book()
    hold = first(of, stream=False)
    rules.settle(of, hold.id, finished(), NOON_NS)
    of.tries["key_1", "once"] = [replace(of.tries["key_1", "once"][0], reply=b"{}")]
    assert ask(of) == Stored(hold.id, b"{}")
    assert len(of.holds) == 1


def test_what_was_not_kept_is_completed() -> None:
    settled, recovered = book(), book()
    rules.settle(settled, first(settled).id, finished(), NOON_NS)
    rules.recover(recovered, first(recovered).id, NOON_NS)
    assert code(ask(settled)) == code(ask(recovered)) == "idempotency_completed"


def test_released_and_refused_attempts_free_the_key() -> None:
    of = book(of=account(daily_input=100))
    rules.settle(of, first(of).id, released("refused"), NOON_NS)
    assert code(ask(of, input_tokens=101)) == "daily_input_tokens_exceeded"
    assert isinstance(ask(of, OTHER), Hold)


def test_after_a_day_the_key_is_free_unless_its_request_still_runs() -> None:
    later = moment(NOON_NS + repeats.KEPT_NS, DAY + 1)
    done, running = book(), book()
    rules.settle(done, first(done).id, finished(), NOON_NS)
    first(running)
    assert code(ask(done, at=moment(NOON_NS + repeats.KEPT_NS - 1))) == "idempotency_completed"
    assert isinstance(ask(done, OTHER, later), Hold)
    assert code(ask(running, at=later)) == "idempotency_in_progress"


def test_a_key_of_one_caller_is_none_of_another() -> None:
    of = book()
    first(of)
    of.keys["key_2"] = type(of.keys["key_1"])(
        id="key_2", account_id="acct_1", surface="main", hash=b"i", display="sk-…"
    )
    assert isinstance(ask(of, key_id="key_2"), Hold)


def test_an_attempt_whose_hold_is_gone_counts_for_nothing() -> None:
    of = book()
    of.holds.pop(first(of).id)
    assert repeats.judge(of, "key_1", WANTED, NOON_NS) is None
