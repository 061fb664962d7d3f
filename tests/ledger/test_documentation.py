"""docs/ledger.md against the code: every code, verb and invariant is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamrouter.admin.bookkeeping import BOOKKEEPING
from streamrouter.errors import RULES
from streamrouter.ledger import invariants

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "ledger.md").read_text()
CODES = sorted(
    code
    for module in ("denials", "repeats", "writer")
    for code in set(
        re.findall(r'"([a-z]+_[a-z_]+|overloaded)"', (ROOT / "streamrouter" / "ledger" / f"{module}.py").read_text())
    )
    & RULES.keys()
)


@pytest.mark.parametrize("code", CODES)
def test_every_refusal_is_documented_with_its_status(code: str) -> None:
    assert re.search(rf"^\| `{code}` \| {RULES[code].status} \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("verb", BOOKKEEPING)
def test_every_verb_is_documented(verb: str) -> None:
    assert f"| `{verb}` |" in PAGE


@pytest.mark.parametrize("what", [*invariants._TOTALS, *invariants._QUICK, *invariants._WHOLE])
def test_every_invariant_is_documented(what: str) -> None:
    assert f"- Never: {what}." in PAGE


def test_there_is_something_to_compare() -> None:
    assert len(CODES) >= 12
