"""Where the time of one request went: the phases of its waterfall, from its row in the books.

A request's id holds the millisecond in which it arrived, its row the moments at which its hold and its settlement were
committed, its first token and its end (both counted from admission). All times are milliseconds since it arrived.
"""

from __future__ import annotations

from typing import Any

from streamrouter.ids import millis_of


def phases(row: dict[str, Any]) -> list[dict[str, Any]]:
    """``admit``, ``upstream``, ``first token``, ``stream``, ``settle``, as far as they are known, in order of time.

    ``upstream`` ends with the upstream's status, ``first token`` with the first event; where the books do not know the
    former (a whole answer, a failed attempt), ``upstream`` goes up to the latter.
    """
    admitted = max(0, row["created_ns"] // 1_000_000 - (millis_of(row["id"]) or row["created_ns"] // 1_000_000))
    marks = [("admit", admitted)]
    answered, first = row.get("answer_ms"), row["ttft_ms"]
    if row["state"] != "open":
        end = admitted + row["duration_ms"]
        if answered is not None:
            marks.append(("upstream", admitted + answered))
        if first is not None:
            marks.append(("upstream" if answered is None else "first token", admitted + first))
        marks.append(("stream" if first is not None else "upstream", end))
        if row["closed_ns"] is not None:
            settled = row["closed_ns"] // 1_000_000 - row["created_ns"] // 1_000_000
            marks.append(("settle", admitted + settled))
    found: list[dict[str, Any]] = []
    at = 0
    for name, until in marks:
        end = max(at, until)
        found.append({"name": name, "start_ms": at, "end_ms": end})
        at = end
    return found
