"""How long things took, in few numbers: counts by logarithmic buckets, so that two of them add up to one.

Bucket ``b`` holds what took from 2^(b/5) to 2^((b+1)/5) milliseconds: a percentile is known to 7 %, from 1 ms up to
nine minutes. Pure; a histogram is a plain dict of the buckets that were hit.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping

PER_OCTAVE = 5
MOST = 95  # the last bucket takes all that is longer: about nine minutes
_MOST_COUNT = 0xFFFF_FFFF

Histogram = dict[int, int]


def bucket_of(ms: float) -> int:
    """The bucket of a duration in milliseconds."""
    return 0 if ms <= 1 else min(MOST, int(math.log2(ms) * PER_OCTAVE))


def add(histogram: Histogram, ms: float) -> None:
    """Count one duration."""
    bucket = bucket_of(ms)
    histogram[bucket] = histogram.get(bucket, 0) + 1


def merge(into: Histogram, other: Mapping[int, int]) -> None:
    """Count all of ``other`` as well."""
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0) + count


def quantile(histogram: Mapping[int, int], q: float) -> int | None:
    """The duration (whole ms) that a share ``q`` does not pass, None where nothing was counted."""
    total = sum(histogram.values())
    if total == 0:
        return None
    wanted = max(1, math.ceil(q * total))
    seen = 0
    last = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        last = bucket
        if seen >= wanted:
            break
    return round(2 ** ((last + 0.5) / PER_OCTAVE))


def pack(histogram: Mapping[int, int]) -> bytes:
    """The same in eight bytes a bucket, for keeping many of them in memory."""
    flat = array("I")
    for bucket, count in histogram.items():
        flat.append(bucket)
        flat.append(min(count, _MOST_COUNT))
    return flat.tobytes()


def unpack(packed: bytes) -> Histogram:
    """What ``pack`` was given."""
    flat = array("I", packed)
    return dict(zip(flat[::2], flat[1::2], strict=True))
