"""What the doctor says about one thing."""

from __future__ import annotations

from dataclasses import asdict

from streamrouter.cli.doctor.finding import ok, problem, warning


def test_a_finding_has_a_remedy_where_something_is_not_right() -> None:
    assert asdict(ok("port", "free")) == {"check": "port", "state": "ok", "found": "free", "remedy": ""}
    assert (warning("a", "b", "c").state, problem("a", "b", "c").state) == ("warning", "problem")
    assert problem("a", "b", "do this").remedy == "do this"
