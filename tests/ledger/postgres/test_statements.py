from __future__ import annotations

import json

import pytest

from streamrouter.ledger.postgres import statements
from streamrouter.ledger.postgres.connection import PostgresConnection
from streamrouter.ledger.postgres.dialect import translate
from streamrouter.ledger.sqlite_book import CLOSING, OPENING
from streamrouter.ledger.verdicts import DatabaseError

MODEL = dict.fromkeys(
    ["requests", "input", "output", "cached", "reasoning", "cost", "spent", "over_input", "over_output"], 1
)


def hold(hold_id: str) -> dict[str, object]:
    numbers = dict.fromkeys(OPENING, 1)
    texts = {"id": hold_id, "account_id": "acct_1", "key_id": "key_1", "surface": "main", "model": "m"}
    return {**numbers, **texts, "prepaid": True, "stream": False, "exact": True}


def closing(hold_id: str) -> dict[str, object]:
    numbers = dict.fromkeys(CLOSING, 0)
    texts = dict.fromkeys(("end_reason", "usage_source", "upstream", "leases"), "x")
    return {**numbers, **texts, "id": hold_id, "state": "settled"}


def test_usage_is_added_to(connection: PostgresConnection) -> None:
    row = {"account_id": "acct_1", "day": 3, "key_id": "key_1", "model": "m", **MODEL}
    connection.execute(statements.ADD_MODELS, (json.dumps([row]),))
    connection.execute(statements.ADD_MODELS, (json.dumps([{**row, "input": 5}]),))
    assert connection.execute("SELECT requests, input, spent FROM usage_model").fetchall() == [(2, 6, 2)]


def test_a_hold_that_is_not_open_stops_the_batch(connection: PostgresConnection) -> None:
    connection.execute(statements.INSERT_HOLDS, (json.dumps([hold("req_1"), hold("req_2")]),))
    assert connection.execute("SELECT prepaid, stream, exact FROM hold").fetchall() == [(1, 0, 1)] * 2
    connection.execute(statements.UPDATE_HOLDS, (json.dumps([closing("req_1")]), 1))
    for changed in (["req_1"], ["req_1", "req_2"], ["req_3"]):
        with pytest.raises(DatabaseError) as told:
            connection.execute(statements.UPDATE_HOLDS, (json.dumps(list(map(closing, changed))), len(changed)))
        assert told.value.sqlstate == statements.GUARD_BROKEN
    assert connection.execute("SELECT id FROM hold WHERE state = 'open'").fetchall() == [("req_2",)]


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (statements.LOCK_ACCOUNTS, "account_pkey"),
        (statements.WRITE_ACCOUNTS, "account_pkey"),
        (statements.WRITE_KEYS, "api_key_pkey"),
        (statements.UPDATE_HOLDS, "hold_pkey"),
    ],
)
def test_rows_are_found_by_their_keys_however_small_the_table_was(
    connection: PostgresConnection, statement: str, index: str
) -> None:
    sql = translate(statement).sql.replace("$1", "'[]'").replace("$2", "0")
    plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {sql}"))
    assert index in plan and "Seq Scan" not in plan and "hold_open" not in plan
