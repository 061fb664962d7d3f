"""What a refused reserve is told: what happened, the numbers, and what to do. Text only; the judging is in rules.py."""

from __future__ import annotations

from msgspec import Struct

from streamrouter.errors import Refusal
from streamrouter.ledger.records import Account, Key, Reserve
from streamrouter.policy.money import nano_to_usd

DAY_S = 86_400
SECOND_NS = 1_000_000_000


class Denied(Struct, frozen=True, kw_only=True):
    """A refusal as a value; nothing has been written. ``code`` is a key of ``errors.RULES``."""

    code: str
    message: str
    param: str | None = None
    retry_after_s: int | None = None

    def refusal(self) -> Refusal:
        """The exception that the gateway raises for it."""
        return Refusal(self.code, self.message, param=self.param, retry_after_s=self.retry_after_s)


def seconds_to_midnight(now_ns: int, day: int) -> int:
    """Seconds until the ledger's next UTC day; the wall clock's own midnight while its day is in doubt."""
    left = (day + 1) * DAY_S - now_ns // SECOND_NS
    return left if left >= 1 else DAY_S - now_ns // SECOND_NS % DAY_S


def unknown_key() -> Denied:
    """The key vanished between its lookup and the reserve."""
    return Denied(code="invalid_api_key", message="This API key does not exist. Ask the operator for a new one.")


def revoked_key(key: Key) -> Denied:
    """The key was revoked or rotated."""
    return Denied(
        code="invalid_api_key",
        message=f"The API key {key.display} was revoked. Use the key that replaced it, or ask the operator for one.",
    )


def expired_key(key: Key) -> Denied:
    """The key was rotated, and the time that it was left is over."""
    return Denied(
        code="invalid_api_key",
        message=f"The API key {key.display} was replaced and has expired. Use the key that replaced it.",
    )


def disabled_account(account: Account, key: Key) -> Denied:
    """The account behind the key was disabled."""
    return Denied(
        code="invalid_api_key",
        message=f"{_who(account, key)} is disabled. Ask the operator to enable the account.",
    )


def input_too_long(account: Account, key: Key, command: Reserve, cap: int) -> Denied:
    """Above the account's input cap per request."""
    return Denied(
        code="input_tokens_exceeded",
        message=f"{_who(account, key)} may send {cap} input tokens per request; this one has {command.input_tokens}. "
        "Shorten the prompt.",
        param="messages",
    )


def output_cap_too_small(account: Account, key: Key, command: Reserve, cap: int) -> Denied:
    """The output cap per request does not even hold one token for each choice."""
    return Denied(
        code="invalid_value",
        message=f"{_who(account, key)} may receive {cap} output tokens per request, less than one for each of "
        f"n = {command.n} choices. Lower n, or ask the operator for a higher cap.",
        param="n",
    )


def too_fast(account: Account, key: Key, per_minute: int, wait_ns: int) -> Denied:
    """Above the account's requests per minute."""
    wait_s = max(1, -(-wait_ns // SECOND_NS))
    return Denied(
        code="rate_limit_exceeded",
        message=f"{_who(account, key)} may send {per_minute} requests per minute. Try again in {wait_s} s.",
        retry_after_s=wait_s,
    )


def too_many_at_once(key: Key, cap: int, in_flight: int) -> Denied:
    """The key (with those that it replaced or that replaced it) has as many requests in flight as it may."""
    return Denied(
        code="concurrent_requests_exceeded",
        message=f"The API key {key.display} has {in_flight} requests in flight and may have {cap} at once. "
        "Wait for one to finish.",
        retry_after_s=1,
    )


def day_input_used(account: Account, key: Key, command: Reserve, left: int, reset_s: int) -> Denied:
    """The day's input does not hold this request."""
    return Denied(
        code="daily_input_tokens_exceeded",
        message=f"{_who(account, key)} has {max(0, left)} of {account.daily_input} input tokens left today; this "
        f"request needs {command.input_tokens}. The day ends at 00:00 UTC, in {reset_s} s.",
        retry_after_s=reset_s,
    )


def day_output_used(account: Account, key: Key, limit: int, fits: int, left: int, reset_s: int) -> Denied:
    """The day's output leaves too little to be worth an answer."""
    return Denied(
        code="daily_output_tokens_exceeded",
        message=f"{_who(account, key)} has {max(0, left)} of {account.daily_output} output tokens left today; this "
        f"request asks for {limit}. {_lower(fits)}The day ends at 00:00 UTC, in {reset_s} s.",
        param="max_tokens",
        retry_after_s=reset_s,
    )


def balance_used(account: Account, key: Key, command: Reserve, limit: int, fits: int, left_usd: int) -> Denied:
    """The balance leaves too little to be worth an answer. ``left_usd`` is nano-USD."""
    needed = command.price.most(command.input_tokens, command.n * limit)
    return Denied(
        code="insufficient_balance",
        message=f"{_who(account, key)} has ${nano_to_usd(left_usd)} left; this request reserves up to "
        f"${nano_to_usd(needed)} ({command.model}, max_tokens {limit}). {_lower(fits)}"
        f"Top up: streamrouter topup {account.name} {command.topup_usd}",
        param="max_tokens",
    )


def _who(account: Account, key: Key) -> str:
    return f'Key "{account.name}" ({key.display})'


def _lower(fits: int) -> str:
    return f"Lower max_tokens to {fits} if that is enough. " if fits > 0 else ""
