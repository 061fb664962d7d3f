"""The ledger's rules: reserve, extend, settle, recover. Pure: no SQL, no clock, no I/O (docs/ledger.md).

A rule gets a ``Book`` (the rows that it may touch, mutable), a command and the moment. Refusals are values in their
order of precedence; after the last check there are only writes, so a refused command leaves every row as it was. Both
engines run these same functions and write the rows back.

    open -> settled     s = min(actual, reserved), the rest is ``over`` (the operator's loss)
    open -> released    provably nothing was sent or billed
    open -> recovered   the process died: s = (reserved input, leased output)
"""

from __future__ import annotations

from typing import Literal

from streamrouter.ledger import denials, repeats, rotations
from streamrouter.ledger.book import Book, Moment
from streamrouter.ledger.denials import Denied
from streamrouter.ledger.records import (
    Account,
    Attempt,
    Hold,
    HoldRow,
    Idempotency,
    Key,
    Remaining,
    Reserve,
    Settled,
    Stored,
    UsageDay,
)
from streamrouter.policy.endings import Ending
from streamrouter.policy.limits import Arrival, arrive
from streamrouter.policy.money import Price

WORTH_ASKING = 16  # an answer clamped below this many tokens is refused instead, unless no more was asked for
MOST_TOKENS = 1 << 40  # what an upstream may claim at most: keeps every sum inside int64
MOST_USD = 1 << 62


def reserve(book: Book, command: Reserve, at: Moment) -> Hold | Denied | Stored:
    """Admit a request or say why not (docs/ledger.md "Reserve"; the checks stand in the documented order).

    ``Stored``: the request was carried out before under its Idempotency-Key; nothing is written.
    """
    key = book.key(command.key_id)
    if key is None:
        return denials.unknown_key()
    if key.status != "active":
        return denials.revoked_key(key)
    if key.expired(at.now_ns):
        return denials.expired_key(key)
    account = book.account(key.account_id)
    if account is None:
        return denials.unknown_key()
    if account.status != "active":
        return denials.disabled_account(account, key)
    if command.idempotency is not None:
        before = repeats.judge(book, key.id, command.idempotency, at.now_ns)
        if before is not None:
            return before
    limit = _per_request(account, key, command)
    if isinstance(limit, Denied):
        return limit
    arrival = _arrival(account, key, at)
    if isinstance(arrival, Denied):
        return arrival
    if key.concurrency is not None and (at_once := rotations.in_flight(book, key, at.now_ns)) >= key.concurrency:
        return denials.too_many_at_once(key, key.concurrency, at_once)
    usage = book.usage_day(account.id, at.day)
    fits = _day_leaves(account, key, usage, command, limit, at)
    if isinstance(fits, Denied):
        return fits
    prepaid = command.prepaid and not account.unlimited
    if prepaid:
        affordable = _balance_leaves(account, key, command, fits)
        if isinstance(affordable, Denied):
            return affordable
        fits = affordable
    row = _hold_row(command, account, at, fits, prepaid)
    _book_reservation(book, account, key, usage, row, arrival)
    if command.idempotency is not None:
        book.add_attempt(_attempt(command, command.idempotency, at.now_ns))
    return _hold(command, account, key, row, fits, fits < limit, _remaining(account, usage, arrival, at))


def extend(book: Book, hold_id: str, lease_output: int) -> int | None:
    """Let a hold deliver up to ``lease_output`` tokens: the lease now in force (never above what is reserved, never
    shrinking), or None when the hold is not open any more.
    """
    row = book.hold(hold_id)
    if row is None or row.state != "open":
        return None
    lease = max(row.lease_output, min(lease_output, row.r_output))
    if lease > row.lease_output:
        row.leases = f"{row.leases or row.lease_output} {lease}"
        row.lease_output = lease
    return lease


def settle(book: Book, hold_id: str, ending: Ending, now_ns: int) -> Settled:
    """Close a hold with what its request came to; a closed hold stays as it is. LookupError: no such hold."""
    row = book.hold(hold_id)
    if row is None:
        raise LookupError(f"the ledger has no hold {hold_id}")
    if row.state == "open":
        _describe(row, ending, now_ns)
        if ending.released:
            _close(book, row, "released")
        else:
            actual_input = row.r_input if ending.whole_input else ending.input_tokens
            actual_output = row.r_output if ending.whole_output else ending.output_tokens
            _charge(row, actual_input, actual_output, ending.cached_tokens, ending.reasoning_tokens)
            _close(book, row, "settled")
    return Settled(
        id=row.id,
        input_tokens=row.s_input,
        output_tokens=row.s_output,
        cached_tokens=row.s_cached,
        cost=row.cost,
        over_input=row.over_input,
        over_output=row.over_output,
    )


def recover(book: Book, hold_id: str, now_ns: int) -> None:
    """Close a hold that a dead process left open: all of its input, and the output that may have been delivered."""
    row = book.hold(hold_id)
    if row is None or row.state != "open":
        return
    row.end_reason = row.usage_source = "recovered"
    row.closed_ns = now_ns
    _charge(row, row.r_input, row.lease_output, 0, 0)
    _close(book, row, "recovered")


def _per_request(account: Account, key: Key, command: Reserve) -> int | Denied:
    """The tokens per choice that the account's caps per request allow."""
    cap = account.input_per_request
    if cap is not None and command.input_tokens > cap:
        return denials.input_too_long(account, key, command, cap)
    cap = account.output_per_request
    if cap is None or command.n * command.limit <= cap:
        return command.limit
    if cap < command.n:
        return denials.output_cap_too_small(account, key, command, cap)
    return cap // command.n


def _arrival(account: Account, key: Key, at: Moment) -> Arrival | Denied | None:
    if account.requests_per_minute is None:
        return None
    arrival = arrive(account.rate_tat_ns, at.now_ns, account.requests_per_minute)
    if arrival.wait_ns:
        return denials.too_fast(account, key, account.requests_per_minute, arrival.wait_ns)
    return arrival


def _day_leaves(account: Account, key: Key, usage: UsageDay, command: Reserve, limit: int, at: Moment) -> int | Denied:
    """The tokens per choice that the day's caps leave, at most ``limit``."""
    if account.daily_input is not None:
        left = account.daily_input - usage.posted_input - usage.reserved_input
        if command.input_tokens > left:
            reset_s = denials.seconds_to_midnight(at.now_ns, at.day)
            return denials.day_input_used(account, key, command, left, reset_s)
    if account.daily_output is None:
        return limit
    left = account.daily_output - usage.posted_output - usage.reserved_output
    fits = min(limit, max(0, left) // command.n)
    if fits < limit and fits < _least(command):
        reset_s = denials.seconds_to_midnight(at.now_ns, at.day)
        return denials.day_output_used(account, key, limit, fits, left, reset_s)
    return fits


def _balance_leaves(account: Account, key: Key, command: Reserve, limit: int) -> int | Denied:
    """The tokens per choice that the balance pays for, at most ``limit``; exact to the pico-USD."""
    price, left = command.price, account.credited - account.spent - account.reserved
    left_pico = left * 1000 - command.input_tokens * price.dearest_input
    if left_pico >= command.n * limit * price.output:
        return limit
    fits = left_pico // (command.n * price.output) if left_pico >= 0 else -1
    if fits < _least(command):
        return denials.balance_used(account, key, command, limit, fits, left)
    return fits


def _least(command: Reserve) -> int:
    return WORTH_ASKING if command.requested is None else min(command.requested, WORTH_ASKING)


def _hold_row(command: Reserve, account: Account, at: Moment, limit: int, prepaid: bool) -> HoldRow:
    price, output = command.price, command.n * limit
    return HoldRow(
        id=command.id,
        account_id=account.id,
        key_id=command.key_id,
        surface=command.surface,
        model=command.model,
        day=at.day,
        boot=at.boot,
        prepaid=prepaid,
        stream=command.stream,
        exact=command.exact,
        r_input=command.input_tokens,
        r_output=output,
        r_usd=price.most(command.input_tokens, output) if prepaid else 0,
        # A whole answer delivers nothing before its settlement is durable: it needs no lease.
        lease_output=min(at.lease_tokens, output) if command.stream else 0,
        price_input=price.input,
        price_output=price.output,
        price_cache_read=price.cache_read,
        created_ns=at.now_ns,
    )


def _book_reservation(
    book: Book, account: Account, key: Key, usage: UsageDay, row: HoldRow, arrival: Arrival | None
) -> None:
    if arrival is not None:
        account.rate_tat_ns = arrival.tat_ns
    account.reserved += row.r_usd
    key.in_flight += 1
    usage.reserved_input += row.r_input
    usage.reserved_output += row.r_output
    usage.requests += 1
    book.add_hold(row)


def _attempt(command: Reserve, idempotency: Idempotency, now_ns: int) -> Attempt:
    return Attempt(
        hold_id=command.id,
        key_id=command.key_id,
        name=idempotency.name,
        fingerprint=idempotency.fingerprint,
        created_ns=now_ns,
    )


def _remaining(account: Account, usage: UsageDay, arrival: Arrival | None, at: Moment) -> Remaining:
    daily_in, daily_out, per_minute = account.daily_input, account.daily_output, account.requests_per_minute
    if daily_in is None and daily_out is None and per_minute is None:
        return Remaining()
    left_in = usage.posted_input + usage.reserved_input
    left_out = usage.posted_output + usage.reserved_output
    return Remaining(
        input_tokens=None if daily_in is None else (daily_in, daily_in - left_in),
        output_tokens=None if daily_out is None else (daily_out, daily_out - left_out),
        requests=None if arrival is None or per_minute is None else (per_minute, arrival.remaining),
        tokens_reset_s=denials.seconds_to_midnight(at.now_ns, at.day),
        requests_reset_ms=0 if arrival is None else -(-arrival.rested_in_ns // 1_000_000),
    )


def _hold(
    command: Reserve, account: Account, key: Key, row: HoldRow, limit: int, clamped: bool, remaining: Remaining
) -> Hold:
    return Hold(
        id=row.id,
        account_id=row.account_id,
        account_name=account.name,
        key_id=row.key_id,
        key_display=key.display,
        surface=row.surface,
        model=row.model,
        limit=limit,
        clamped=clamped,
        r_input=row.r_input,
        r_output=row.r_output,
        r_usd=row.r_usd,
        lease=row.lease_output,
        price=command.price,
        prepaid=row.prepaid,
        remaining=remaining,
        asked=row.lease_output,
    )


def _describe(row: HoldRow, ending: Ending, now_ns: int) -> None:
    row.end_reason = ending.reason
    row.usage_source = ending.source
    row.upstream = ending.upstream
    row.ttft_ms = ending.ttft_ms
    row.duration_ms = ending.duration_ms
    row.gap_p99_ms = ending.gap_p99_ms
    row.closed_ns = now_ns


def _charge(row: HoldRow, actual_input: int, actual_output: int, cached: int, reasoning: int) -> None:
    """Fill in what is charged and what is over; ``s_usd`` cannot pass ``r_usd`` (all was held at its dearest)."""
    price = Price(row.price_input, row.price_output, row.price_cache_read)
    row.s_input = _within(actual_input, row.r_input)
    row.s_output = _within(actual_output, row.r_output)
    row.s_cached = _within(cached, row.s_input)
    row.s_reasoning = _within(reasoning, row.s_output)
    row.cost = price.cost(row.s_input, row.s_output, row.s_cached)
    row.s_usd = row.cost if row.prepaid else 0
    if actual_input > row.r_input or actual_output > row.r_output:
        row.over_input = _within(actual_input - row.s_input, MOST_TOKENS)
        row.over_output = _within(actual_output - row.s_output, MOST_TOKENS)
        # What lies above the reservation is uncached: cached tokens were counted into s_input first.
        row.over_usd = min(
            -(-(row.over_input * row.price_input + row.over_output * row.price_output) // 1000), MOST_USD
        )


def _within(tokens: int, most: int) -> int:
    return 0 if tokens < 0 else tokens if tokens < most else most


def _close(book: Book, row: HoldRow, state: Literal["settled", "released", "recovered"]) -> None:
    """Leave ``open``, exactly once: lift all that the hold reserved and, unless it is released, post it."""
    account, key = book.account(row.account_id), book.key(row.key_id)
    if account is None or key is None:
        raise LookupError(f"hold {row.id} belongs to no account or key of this ledger")
    usage = book.usage_day(row.account_id, row.day)
    row.state = state
    account.reserved -= row.r_usd
    key.in_flight -= 1
    usage.reserved_input -= row.r_input
    usage.reserved_output -= row.r_output
    if state == "released":
        usage.requests -= 1
        return
    account.spent += row.s_usd
    usage.posted_input += row.s_input
    usage.posted_output += row.s_output
    model = book.usage_model(row.account_id, row.day, row.key_id, row.model)
    model.requests += 1
    model.input += row.s_input
    model.output += row.s_output
    model.cached += row.s_cached
    model.reasoning += row.s_reasoning
    model.cost += row.cost
    model.spent += row.s_usd
    model.over_input += row.over_input
    model.over_output += row.over_output
