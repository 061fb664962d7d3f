"""The order of the looks, and what each of them is given. (The faults themselves: test_command.py.)"""

from __future__ import annotations

from streamrouter.cli.doctor.examination import examine, faults_of
from streamrouter.cli.doctor.finding import ok, problem
from streamrouter.cli.options import Options
from tests.cli.conftest import Command

CHECKS = (
    "sqlite configuration server ledger file-system permissions disk-space tokenizers descriptors port upstream clock"
)


def test_everything_is_looked_at_and_nothing_is_made(command: Command) -> None:
    found = examine(Options(command.config, command.ledger, as_json=True), None, offline=False)
    checks = [each.check.replace(" ", "-").replace("upstream-demo", "upstream") for each in found]
    assert list(dict.fromkeys(checks)) == CHECKS.split()
    assert faults_of([each for each in found if each.check not in ("descriptors", "port")]) == []
    assert command.run("user", "list").exit_code == 1  # there is still no ledger


def test_offline_calls_no_upstream(command: Command) -> None:
    found = examine(Options(command.config, command.ledger, as_json=True), None, offline=True)
    assert not [each for each in found if each.check.startswith("upstream")]


def test_only_problems_count() -> None:
    assert faults_of([ok("a", "b"), problem("c", "d", "e")]) == [problem("c", "d", "e")]
