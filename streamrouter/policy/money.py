"""Money without floats: pico-USD per token, nano-USD per amount (docs/ledger.md "Units").

A price of $0.15 per million tokens is 150_000 pico-USD per token; an amount is ``ceil(sum(tokens * price) / 1000)``
nano-USD, rounded up once per settlement. int64 holds 9.2 * 10^9 USD.
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

NANO_PER_USD = 1_000_000_000
PICO_PER_TOKEN_OF_USD_PER_MILLION = 1_000_000
_DECIMAL = re.compile(r"(-?)([0-9]{1,9})(?:\.([0-9]+))?")


def scaled(text: str, places: int) -> int:
    """The decimal ``text`` times 10**places, exactly. ValueError if it is no plain decimal or has more places."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a plain decimal number such as 12.50")
    sign, whole, fraction = match.groups(default="")
    if len(fraction.rstrip("0")) > places:
        raise ValueError(f"{text[:40]!r} has more than {places} decimal places")
    value: int = int(whole) * 10**places + int(fraction[:places].ljust(places, "0") or "0")
    return -value if sign else value


def usd_to_nano(text: str) -> int:
    """``"10.50"`` → 10_500_000_000 nano-USD."""
    return scaled(text, 9)


def price_to_pico(text: str) -> int:
    """USD per million tokens as a decimal string → pico-USD per token (``"0.15"`` → 150_000)."""
    value = scaled(text, 6)
    if value < 0:
        raise ValueError(f"a price cannot be negative: {text}")
    return value


@lru_cache(1024)
def nano_to_usd(nano: int) -> str:
    """Nano-USD as a plain decimal string, trailing zeros cut to two places (``"10.50"``, ``"0.000000003"``)."""
    sign = "-" if nano < 0 else ""
    whole, fraction = divmod(abs(nano), NANO_PER_USD)
    digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


class Price(Struct, frozen=True):
    """What one model costs, in pico-USD per token; ``cache_read`` applies to the cached part of the input."""

    input: int = 0
    output: int = 0
    cache_read: int = 0

    @property
    def dearest_input(self) -> int:
        """The input component a reservation is priced at: nothing that is settled can cost more."""
        return max(self.input, self.cache_read)

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Nano-USD for a settlement; ``cached_tokens`` are part of ``input_tokens`` (never more than them)."""
        cached = min(cached_tokens, input_tokens)
        pico = (input_tokens - cached) * self.input + cached * self.cache_read + output_tokens * self.output
        return -(-pico // 1000)

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-USD that a reservation holds: every component at its dearest."""
        return -(-(input_tokens * self.dearest_input + output_tokens * self.output) // 1000)
