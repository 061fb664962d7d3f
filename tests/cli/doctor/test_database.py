"""What the doctor finds of a Postgres database: a real one, one that is not there, and one of somebody else's."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from streamrouter.cli.doctor.database import connections, durability, look, round_trip
from streamrouter.cli.doctor.finding import Finding
from tests.cli.conftest import Command
from tests.support.postgres import PASSWORD, Cluster


def found(url: str) -> dict[str, Finding]:
    findings = {each.check: each for each in look(url)}
    assert PASSWORD not in repr(findings)
    return findings


def test_a_good_database_is_looked_at_and_left_as_it_is(database: str) -> None:
    made = found(database)
    assert list(made) == ["driver", "database", "tables", "durability", "connections", "round trip", "clock"]
    assert {name: each.state for name, each in made.items() if each.state != "ok"} == {"durability": "problem"}
    assert made["tables"].found == "they will be made at the first start"
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_tables_of_somebody_else(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE account (id text)")
    assert found(database)["tables"].state == "problem"
    assert "another program" in found(database)["tables"].found


def test_a_user_who_may_make_nothing(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE ROLE guest_{connection.info.dbname} LOGIN PASSWORD '{PASSWORD}'")
        guest = database.replace("streamrouter:", f"guest_{connection.info.dbname}:")
    assert found(guest)["tables"].state == "problem"
    assert "GRANT CREATE" in found(guest)["tables"].remedy
    with psycopg.connect(database) as connection:
        connection.execute(f"DROP ROLE guest_{connection.info.dbname}")


def test_nobody_there_and_a_wrong_password(postgres: Cluster, database: str) -> None:
    nobody = found(f"postgresql://u:{PASSWORD}@127.0.0.1:1/books")
    assert nobody["database"].state == "problem" and "refused" in nobody["database"].found
    wrong = found(database.replace(PASSWORD, f"{PASSWORD}x"))
    assert wrong["database"].state == "problem" and "password authentication failed" in wrong["database"].found


def test_through_the_command(command: Command, database: str) -> None:
    command.ledger = database
    result = command.run("doctor", "--offline")
    assert "a ledger" not in result.output and "Postgres 1" in result.output and PASSWORD not in result.output
    assert "file system" not in result.output


def test_without_the_driver() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from streamrouter.cli.doctor.database import look\n"
        "[found] = look('postgresql:///x'); print(found.state, found.remedy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "problem pip install 'streamrouter[postgres]'\n", done.stderr


@pytest.mark.parametrize(
    ("finding", "state"),
    [
        (durability(True, True), "ok"),
        (durability(True, False), "problem"),
        (connections(97, 5), "ok"),
        (connections(97, 90), "warning"),
        (connections(97, 96), "problem"),
        (round_trip(0.3), "ok"),
        (round_trip(30), "warning"),
    ],
)
def test_what_is_much_and_what_is_little(finding: Finding, state: str) -> None:
    assert finding.state == state
