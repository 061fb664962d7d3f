"""The meter: what a request has come to, known at every moment (not sent / sent / n tokens read).

It counts every event as it passes, says when the lease must grow, when an upstream that ignores its limit is cut, and,
whatever ended the request, what is charged: ``ending()`` is docs/ledger.md's "what is charged" as code. No I/O here.

Counts on the way only feed leases: summed over small pieces they exceed the count of the whole text. Before a cut, and
for every charge from a local count, each choice's whole text is counted again.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from streamrouter.policy.endings import Ending, Source, released
from streamrouter.policy.tokens import utf8_length
from streamrouter.wire.chunk import Chunk, texts
from streamrouter.wire.usage import MOST_TOKENS, Usage, read_usage

CountText = Callable[[str], int]
COMPLETE = frozenset({"finished", "cut"})  # reasons after which the upstream owes nothing more


class Meter:
    """One request's usage. ``r_input``, ``r_output``: reserved; ``local_input``: our own count; ``lease``: durable."""

    def __init__(
        self, *, count: CountText, local_input: int, r_input: int, r_output: int, n: int, lease: int, exact: bool
    ) -> None:
        self._count = count
        self.local_input = local_input
        self.r_input = r_input
        self.r_output = r_output
        self.n = n
        self.lease = lease
        self.slack = 0 if exact else max(64, r_output // 4)
        self.sent = False  # the upstream may have worked on the request: it is not released
        self.charge_ambiguous = True  # the upstream's config may waive an input that nobody can vouch for
        self._counted = 0
        self._uncounted: list[str] = []  # pieces of one text, read and not counted yet
        self._uncounted_of: tuple[int, str] = (0, "")
        self._uncounted_bytes = 0
        self.events = 0
        self.reason = ""
        self.whole_output = False
        self.upstream = ""
        self.attempts: list[tuple[str, str]] = []  # upstreams that were tried, each with its outcome
        self.usage_seen = False
        self._usage: Usage | None = None
        self._suspect = False
        self._fresh = False  # a sane usage was read since the last counted event
        self._overtaken = False  # text came after the last sane usage: it may have been an interim one
        self._texts: dict[tuple[int, str], list[str]] = {}
        self.finish_reasons: dict[int, str] = {}

    # -- counting -----------------------------------------------------------------------------------------------

    def add(self, chunk: Chunk) -> None:
        """Count one event that was read from the upstream (delivered or not)."""
        said = False
        for choice in chunk.choices or ():
            for channel, text in texts(choice.delta):
                self._note(choice.index, channel, text, utf8_length(text))
                said = True
            if choice.finish_reason is not None:
                self.finish_reasons[choice.index] = choice.finish_reason
        self.events += 1
        if self.usage_seen:
            covered = self._fresh and chunk.has_usage  # by the usage that this very event carries
            self._overtaken = self._overtaken or (said and not covered)
            self._fresh = False

    def take(self, index: int, channel: str, text: str, events: int) -> bool:
        """Count ``events`` that hold a piece of one text each, together ``text``, and nothing else.

        False: the durable lease or the limit may not allow them, and nothing was counted.
        """
        size = len(text) if text.isascii() else utf8_length(text)
        most = self.r_output + self.slack
        room = self.lease if self.lease < most else most
        if self._counted + self._uncounted_bytes + size > room and not self._fits(text, size, room):
            return False
        self.events += events
        if text:
            self._note(index, channel, text, size)
        if self.usage_seen:
            self._overtaken = self._overtaken or size > 0
            self._fresh = False
        return True

    def _note(self, index: int, channel: str, text: str, size: int) -> None:
        of = (index, channel)
        pieces = self._texts.get(of)
        if pieces is None:
            self._texts[of] = [text]
        else:
            pieces.append(text)
        if of != self._uncounted_of:
            self._count_up()
            self._uncounted_of = of
        self._uncounted.append(text)
        self._uncounted_bytes += size

    def _count_up(self) -> None:
        if self._uncounted:
            self._counted += self._count("".join(self._uncounted)) or 1
            self._uncounted.clear()
            self._uncounted_bytes = 0

    @property
    def counted(self) -> int:
        """Output tokens read; an upper bound until recounted.

        Text is counted when it matters, not when it comes: a tokenizer makes no more tokens of it than it has bytes, so
        far from a limit its length is enough. Several events are counted as the one text that they are.
        """
        self._count_up()
        return self._counted

    def _at_most(self, tokens: int) -> bool:
        """What was read is at most so many tokens."""
        return self._counted + self._uncounted_bytes <= tokens or self.counted <= tokens

    def _fits(self, text: str, size: int, room: int) -> bool:
        """``text`` of ``size`` bytes fits into ``room`` tokens beside what was read, once that is counted."""
        return self.counted + size <= room or self._counted + (self._count(text) or 1) <= room

    def add_text(self, index: int, channel: str, text: str) -> None:
        """Count text of a whole (non-streamed) answer."""
        self._texts.setdefault((index, channel), []).append(text)

    def add_usage(self, raw: Raw) -> bool:
        """The last sane usage counts, never the sum; an insane one (False) is remembered as suspect."""
        self.usage_seen = True
        usage = read_usage(raw)
        if usage is None or not self._sane(usage):
            self._suspect = True
            return False
        self._usage, self._fresh, self._overtaken = usage, True, False
        return True

    def forget_usage(self) -> None:
        """A new attempt begins: what a failed one told is not its own."""
        self._usage = None
        self.usage_seen = self._suspect = self._fresh = self._overtaken = False

    def _sane(self, usage: Usage) -> bool:
        most_output = self.r_output + self.r_output // 10 + 16
        return usage.output <= min(most_output, MOST_TOKENS) and usage.input <= 2 * self.local_input + 256

    def recount(self) -> int:
        """The output so far, each choice's text of a channel counted as one; becomes the new ``counted``."""
        total = 0
        for pieces in self._texts.values():
            if len(pieces) > 1:
                pieces[:] = ["".join(pieces)]
            total += self._count(pieces[0])
        self._uncounted.clear()
        self._uncounted_bytes = 0
        self._counted = total
        return total

    # -- decisions ----------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Every choice has its finish_reason."""
        return len(self.finish_reasons) >= self.n

    def over_limit(self) -> bool:
        """What was read passes the reservation and its slack: the upstream ignores its limit (F14)."""
        most = self.r_output + self.slack
        return not self._at_most(most) and self.recount() > most

    def covered(self) -> bool:
        """What was read may be delivered under the durable lease."""
        if self._at_most(self.lease):
            return True
        if self.lease >= self.r_output:  # the lease cannot grow: only the true count matters now
            most = self.lease + self.slack
            return self._at_most(most) or self.recount() <= most
        return False

    def wanted_lease(self, block: int) -> int:
        """The lease to ask for; 0 when more than half a block is left, or all is leased (docs/ledger.md)."""
        if self.lease >= self.r_output or self._at_most(self.lease - block // 2 - 1):
            return 0
        return min(self.r_output, self.lease + max(block, self.counted - self.lease))

    # -- how it ended -------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """Why it ended; the first reason stands."""
        self.reason = self.reason or reason

    def usage(self) -> tuple[Usage, Source]:
        """What a completed request used and how well that is known."""
        told = self._usage
        if self.whole_output or self.reason == "cut":  # an upstream that ignores its limit is not believed
            told = None
        if told is not None and not (self._overtaken and self.recount() > told.output):
            return told, "upstream"
        suspect = self._suspect or self.whole_output or told is not None
        return Usage(self.local_input, self.recount()), "suspect" if suspect else "local"

    def ending(
        self,
        *,
        ttft_ms: int | None = None,
        duration_ms: int = 0,
        answer_ms: int | None = None,
        gap_p99_ms: int | None = None,
    ) -> Ending:
        """The one value that a settlement takes, whichever exception or cancellation ended the request."""
        reason = self.reason or "cancelled"
        if not self.sent:
            return released(reason, upstream=self.upstream, duration_ms=duration_ms, attempts=self.attempts)
        usage, source = self._charge(reason)
        return Ending(
            reason=reason,
            source=source,
            input_tokens=usage.input,
            output_tokens=usage.output,
            cached_tokens=usage.cached,
            reasoning_tokens=usage.reasoning,
            whole_input=self.charge_ambiguous and (source == "ambiguous" or self.whole_output),
            whole_output=self.whole_output,
            upstream=self.upstream,
            ttft_ms=ttft_ms,
            duration_ms=duration_ms,
            events=self.events,
            answer_ms=answer_ms,
            gap_p99_ms=gap_p99_ms,
            attempts=self.attempts,
        )

    def _charge(self, reason: str) -> tuple[Usage, Source]:
        usage, source = self.usage()
        if reason in COMPLETE or source == "upstream" or self.whole_output:
            return usage, source
        if not self.events and reason != "client_left":
            return Usage(self.r_input if self.charge_ambiguous else 0, 0), "ambiguous"
        return usage, "abort" if reason == "client_left" else "partial"
