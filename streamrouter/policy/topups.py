"""What a top-up comes to: payment, service fee and credit, in whole nano-USD (docs/ledger.md "Who owns what").

With the fee on top, an amount of 10 at 5 % is a payment of 10.50, a fee of 0.50 and a credit of 10. Taken out, it is a
payment of 10, a fee of 0.50 and a credit of 9.50. The minimum applies to the credit. A fee is rounded up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from streamrouter.config.schema import SurfaceConfig
from streamrouter.policy.money import nano_to_usd, scaled, usd_to_nano

USUAL_USD = "5"
_WHOLE = 100 * 10_000  # a fee is kept in ten-thousandths of a percent, so this is 100 %


class Bill(Struct, frozen=True):
    """One top-up in nano-USD; ``payment`` = ``credit`` + ``fee``."""

    payment: int
    fee: int
    credit: int


class Terms(Struct, frozen=True):
    """The least credit (nano-USD), the fee (ten-thousandths of a percent), and who bears it."""

    minimum: int = 0
    fee_rate: int = 0
    taken_out: bool = False

    def bill(self, amount: int) -> Bill:
        """What the top-up of ``amount`` nano-USD comes to. ValueError if it is not positive or below the minimum."""
        if amount <= 0:
            raise ValueError(f"a top-up must be more than 0 USD, not {nano_to_usd(amount)}")
        fee = -(-amount * self.fee_rate // _WHOLE)
        bill = Bill(amount, fee, amount - fee) if self.taken_out else Bill(amount + fee, fee, amount)
        if bill.credit < max(self.minimum, 1):
            raise ValueError(self._too_little(bill))
        return bill

    def _too_little(self, bill: Bill) -> str:
        least = f"the least top-up is {nano_to_usd(self.minimum)} USD"
        if not self.taken_out or not bill.fee:
            return f"{least}, not {nano_to_usd(bill.credit)}"
        return (
            f"{least} after the fee, and {nano_to_usd(bill.payment)} would leave {nano_to_usd(bill.credit)};"
            f" pay {nano_to_usd(self.least())} or more"
        )

    def least(self) -> int:
        """The least amount (nano-USD) that ``bill`` takes."""
        least = max(self.minimum, 1)
        return -(-least * _WHOLE // (_WHOLE - self.fee_rate)) if self.taken_out and self.fee_rate < _WHOLE else least


def terms_of(surfaces: Sequence[SurfaceConfig], used: Collection[str]) -> Terms:
    """The terms of an account whose active keys are on the surfaces named ``used``.

    Only prepaid surfaces have terms; of several the strictest apply (the highest minimum, the highest fee). An account
    without a key yet is one whose balance is for any prepaid surface: nobody avoids a fee by paying before the key.
    """
    prepaid = [surface for surface in surfaces if surface.billing == "prepaid" and (not used or surface.name in used)]
    if not prepaid:
        return Terms()
    dearest = max(prepaid, key=lambda surface: scaled(surface.topup_fee_percent, 4))
    return Terms(
        minimum=max(usd_to_nano(surface.topup_minimum) for surface in prepaid),
        fee_rate=scaled(dearest.topup_fee_percent, 4),
        taken_out=dearest.topup_fee == "taken_out",
    )


def suggested(surface: SurfaceConfig) -> str:
    """The amount (USD) that a refusal for want of balance proposes: the least that is taken, 5 where any is."""
    terms = terms_of([surface], ())
    if not terms.minimum:
        return USUAL_USD
    return nano_to_usd(terms.least()) if terms.taken_out else surface.topup_minimum
