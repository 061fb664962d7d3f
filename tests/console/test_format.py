"""Numbers, amounts and durations as people read them (format.js, run by Node)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

FORMAT = Path(__file__).parent.parent.parent / "streamrouter" / "console" / "js" / "format.js"
CASES: list[tuple[str, Any, str]] = [
    ("count", 0, "0"),
    ("count", 1234567, "1 234 567"),
    ("count", "9007199254740993", "9 007 199 254 740 993"),
    ("count", 3.14159, "3.1"),
    ("count", None, "–"),
    ("brief", 9999, "9 999"),
    ("brief", 999_999, "1 M"),
    ("brief", 1_234_567, "1.23 M"),
    ("brief", 65_536, "65.5 k"),
    ("brief", "9007199254740993", "9010 T"),
    ("money", "0", "$0"),
    ("money", "12.340000001", "$12.34"),
    ("money", "1234567.891", "$1 234 567.89"),
    ("money", "0.0048", "$0.0048"),
    ("money", "0.000034275", "$0.0000343"),
    ("money", "0.999999999", "$1"),
    ("money", "-3.1", "−$3.10"),
    ("money", None, "–"),
    ("milliseconds", 0, "0 ms"),
    ("milliseconds", 4.25, "4.3 ms"),
    ("milliseconds", 950, "950 ms"),
    ("milliseconds", 1234, "1.23 s"),
    ("milliseconds", 125_000, "2 min 5 s"),
    ("seconds", 3600, "1 h"),
    ("seconds", 86_399, "23 h 59 min"),
    ("seconds", 200_000, "2 d 7 h"),
    ("rate", None, "–"),
    ("rate", 48.26, "48.3"),
    ("rate", 1234.5, "1 235"),
    ("utc", "2026-11-20T16:00:05Z", "2026-11-20 16:00:05 UTC"),
    ("moment", "nothing", "–"),
    ("fromLocalInput", "", ""),
    ("localInput", "nothing", ""),
]


@pytest.fixture(scope="module")
def formatted() -> list[str]:
    script = (
        f"const format = await import({json.dumps(FORMAT.as_uri())});"
        f"const cases = {json.dumps([case[:2] for case in CASES])};"
        "console.log(JSON.stringify(cases.map(([name, value]) => format[name](value))))"
    )
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{CASES[number][0]} {CASES[number][1]}")
def test_it_reads_well(number: int, formatted: list[str]) -> None:
    assert formatted[number].replace("\u202f", " ") == CASES[number][2]
