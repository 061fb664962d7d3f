"""The invariants that a ledger's file can show by itself (docs/ledger.md "Invariants"), each as a query for its breach.

The aggregates form a chain (account and day = sum of usage_model and open holds; usage_model = sum of the closed holds
kept and of ``usage_archive``), so the quick form, which leaves out the scan over closed holds, still compares every
total. The form of the minute timer looks at open holds and at the days since a given one only.
"""

from __future__ import annotations

from streamrouter.ledger.connection import Connection

_FEW = 5  # rows named per breach: enough to look into, short enough to log

_TOTALS = {
    "an account's credit is not the sum of its entries": """
        SELECT name, credited, coalesce(total, 0) FROM account LEFT JOIN
            (SELECT account_id, sum(amount) AS total FROM entry GROUP BY account_id) AS e ON e.account_id = id
        WHERE credited <> coalesce(total, 0)""",
    "an account's spent money is not the sum of its usage": """
        SELECT name, account.spent, coalesce(total, 0) FROM account LEFT JOIN
            (SELECT account_id, sum(spent) AS total FROM usage_model GROUP BY account_id) AS u ON u.account_id = id
        WHERE account.spent <> coalesce(total, 0)""",
}

_QUICK = {
    "an account has spent and reserved more than was credited": """
        SELECT name, spent, reserved, credited FROM account
        WHERE spent + reserved > credited OR spent < 0 OR reserved < 0""",
    "an account's reserved money is not that of its open holds": """
        SELECT name, reserved, coalesce(total, 0) FROM account LEFT JOIN
            (SELECT account_id, sum(r_usd) AS total FROM hold WHERE state = 'open' GROUP BY account_id) AS h
            ON h.account_id = id
        WHERE reserved <> coalesce(total, 0)""",
    "a key's requests in flight are not its open holds": """
        SELECT id, in_flight, coalesce(total, 0) FROM api_key LEFT JOIN
            (SELECT key_id, count(*) AS total FROM hold WHERE state = 'open' GROUP BY key_id) AS h ON h.key_id = id
        WHERE in_flight <> coalesce(total, 0) OR in_flight > concurrency""",
    "a day's reserved tokens are not those of its open holds": """
        SELECT d.account_id, d.day, reserved_input, reserved_output, coalesce(total_in, 0), coalesce(total_out, 0)
        FROM usage_day AS d LEFT JOIN
            (SELECT account_id, day, sum(r_input) AS total_in, sum(r_output) AS total_out
             FROM hold WHERE state = 'open' GROUP BY account_id, day) AS o
            ON o.account_id = d.account_id AND o.day = d.day
        WHERE d.day >= :since
            AND (reserved_input <> coalesce(total_in, 0) OR reserved_output <> coalesce(total_out, 0))""",
    "a day's posted tokens are not the sum of its usage": """
        SELECT d.account_id, d.day, posted_input, posted_output, coalesce(total_in, 0), coalesce(total_out, 0)
        FROM usage_day AS d LEFT JOIN
            (SELECT account_id, day, sum(input) AS total_in, sum(output) AS total_out
             FROM usage_model WHERE day >= :since GROUP BY account_id, day) AS m
            ON m.account_id = d.account_id AND m.day = d.day
        WHERE d.day >= :since AND (posted_input <> coalesce(total_in, 0) OR posted_output <> coalesce(total_out, 0))""",
    "a hold or usage lies on a day that has no row": """
        SELECT account_id, day FROM
            (SELECT account_id, day FROM usage_model WHERE day >= :since
             UNION SELECT account_id, day FROM hold WHERE state = 'open') AS used
        EXCEPT SELECT account_id, day FROM usage_day""",
    "a lease is longer than what is reserved": """
        SELECT id, lease_output, r_output FROM hold
        WHERE state = 'open' AND lease_output NOT BETWEEN 0 AND r_output""",
    "an open hold has been charged or closed": """
        SELECT id FROM hold WHERE state = 'open'
        AND (closed_ns IS NOT NULL
            OR s_input <> 0 OR s_output <> 0 OR s_usd <> 0 OR cost <> 0 OR over_input <> 0 OR over_output <> 0)""",
    "two requests were admitted under one Idempotency-Key": """
        SELECT i.key_id, i.name, count(*) FROM idempotency AS i JOIN hold AS h ON h.id = i.hold_id
        WHERE h.state <> 'released' GROUP BY i.key_id, i.name HAVING count(*) > 1""",
    "an open hold belongs to a boot or a day to come": """
        SELECT id, boot, day FROM hold WHERE state = 'open' AND (
            boot > (SELECT value FROM meta WHERE name = 'boot')
            OR day > (SELECT value FROM meta WHERE name = 'last_day')
               AND NOT EXISTS (SELECT 1 FROM audit WHERE action = 'day_accepted'))""",
}

# Who refers to a table's ids, and by which column.
_REFERENCES = {
    "account": ("account_id", ("api_key", "usage_day", "usage_model", "usage_archive", "hold", "entry", "person")),
    "api_key": ("key_id", ("hold", "idempotency")),
    "hold": ("hold_id", ("idempotency",)),
    "person": ("person_id", ("invitation", "session", "admin_token")),
}

_WHOLE = {
    "the usage of a day, key and model is not that of its closed holds and its archive": """
        SELECT account_id, day, key_id, model, sum(requests), sum(input), sum(output), sum(spent) FROM (
            SELECT account_id, day, key_id, model, requests, input, output, cached, reasoning, cost, spent,
                   over_input, over_output FROM usage_model
            UNION ALL
            SELECT account_id, day, key_id, model, -1, -s_input, -s_output, -s_cached, -s_reasoning, -cost, -s_usd,
                   -over_input, -over_output FROM hold WHERE state IN ('settled', 'recovered')
            UNION ALL
            SELECT account_id, day, key_id, model, -requests, -input, -output, -cached, -reasoning, -cost, -spent,
                   -over_input, -over_output FROM usage_archive) AS line
        GROUP BY account_id, day, key_id, model
        HAVING sum(requests) <> 0 OR sum(input) <> 0 OR sum(output) <> 0 OR sum(cached) <> 0 OR sum(reasoning) <> 0
            OR sum(cost) <> 0 OR sum(spent) <> 0 OR sum(over_input) <> 0 OR sum(over_output) <> 0""",
    "a day's requests are not its holds": """
        SELECT account_id, day, sum(n) FROM (
            SELECT account_id, day, requests AS n FROM usage_day
            UNION ALL SELECT account_id, day, -1 FROM hold WHERE state <> 'released'
            UNION ALL SELECT account_id, day, -requests FROM usage_archive) AS line
        GROUP BY account_id, day HAVING sum(n) <> 0""",
    "a hold was charged more than it reserved": """
        SELECT id, state, s_input, r_input, s_output, r_output, s_usd, r_usd FROM hold
        WHERE s_input NOT BETWEEN 0 AND r_input OR s_output NOT BETWEEN 0 AND r_output OR s_usd NOT BETWEEN 0 AND r_usd
        OR s_cached NOT BETWEEN 0 AND s_input OR s_reasoning NOT BETWEEN 0 AND s_output
        OR over_input < 0 OR over_output < 0
        OR over_input <> 0 AND s_input < r_input OR over_output <> 0 AND s_output < r_output""",
    "a closed hold's money is not the price of its tokens": """
        SELECT id, cost, s_usd FROM hold WHERE state IN ('settled', 'recovered') AND (
            cost <> ((s_input - s_cached) * price_input + s_cached * price_cache_read + s_output * price_output + 999)
                    / 1000
            OR s_usd <> CASE prepaid WHEN 1 THEN cost ELSE 0 END)""",
    "a released hold was charged": """
        SELECT id FROM hold WHERE state = 'released'
        AND (s_input <> 0 OR s_output <> 0 OR s_usd <> 0 OR cost <> 0 OR over_input <> 0 OR over_output <> 0)""",
    "a hold is in a state that does not exist": """
        SELECT id, state FROM hold WHERE state NOT IN ('open', 'settled', 'released', 'recovered')""",
    "a closed hold has no time of closing": """
        SELECT id FROM hold WHERE state <> 'open' AND closed_ns IS NULL""",
    "a recovered hold was not charged its input and its lease": """
        SELECT id, s_input, s_output FROM hold
        WHERE state = 'recovered' AND (s_input <> r_input OR s_output <> lease_output)""",
    "a row refers to one that does not exist": " UNION ALL ".join(
        f"SELECT '{table}', {column} FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608 - names of our own
        f" AND NOT EXISTS (SELECT 1 FROM {owner} WHERE id = {column})"
        for owner, (column, tables) in _REFERENCES.items()
        for table in tables
    ),
}

COUNT = len(_TOTALS) + len(_QUICK) + len(_WHOLE)


def check(connection: Connection, *, whole: bool = True, since: int | None = None) -> list[str]:
    """Every breach found, as a line of text; none: the books are right.

    ``whole`` False leaves out what needs a scan over all closed holds (at the start of a large ledger); with ``since``
    (a day), what needs one over all usage and all entries as well (once a minute).
    """
    found = []
    queries = {**({} if since is not None else _TOTALS), **_QUICK, **(_WHOLE if whole else {})}
    for what, query in queries.items():
        rows = connection.execute(query, {"since": -1 if since is None else since}).fetchmany(_FEW)
        if rows:
            found.append(f"{what}: {'; '.join(str(row) for row in rows)}")
    return found
