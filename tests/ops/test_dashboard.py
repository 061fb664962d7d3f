"""What is written about metrics is true: the dashboard asks for what exists, docs/operating.md has a row for each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrouter.ops.metrics import Metrics

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/streamrouter.json").read_text())
SELECTOR = re.compile(r"((?:streamrouter|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\bby \(([a-z_, ]+)\)")
ADDED = {"le"}


def page() -> dict[str, set[str]]:
    """Every sample's name with its labels, of metrics in which everything has happened once."""
    metrics = Metrics(["demo"], ["main"])
    metrics.ended("s", "demo", "finished", "suspect", 1, 1, 1, 1, 1, 1, 0.1, 0.2, 0.01)
    metrics.refused("invalid_api_key")
    metrics.attempt("main", "ok")
    metrics.reloaded("taken")
    metrics.watch(lambda: 0, lambda: 0)
    metrics.watch_serving(lambda: True, lambda: {"main": "closed"})
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


PAGE = page()


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_asks_for_what_exists(query: str) -> None:
    found = SELECTOR.findall(query)
    assert found
    labels: set[str] = set()
    for name, selector in found:
        assert name in PAGE
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector)) <= PAGE[name]
        labels |= PAGE[name]
    for group in GROUPED.findall(query):
        assert {label.strip() for label in group.split(",")} <= labels
    if query.startswith("label_values("):
        assert re.split(r"[ ,()]+", query)[2] in labels
    if "histogram_quantile" in query:
        assert all(name.endswith("_bucket") for name, _ in found) and "by (le" in query


def test_legends_name_labels_of_their_query() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            labels = set().union(*(PAGE[name] for name, _ in SELECTOR.findall(target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels


def test_the_dashboard_is_sound() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] for panel in panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD)
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) <= variables


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    asked = " ".join(queries())
    assert [name for name in Metrics().names() if name not in asked] == []


def test_every_metric_has_its_row_and_every_row_its_metric() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    rows = re.findall(r"^\| `(streamrouter_[a-z0-9_]+)`(?: \{([a-z_, ]+)\})? \|", text, re.MULTILINE)
    written = {name: {label.strip() for label in labels.split(",") if label} for name, labels in rows}
    there = {name: labels - ADDED for name, labels in PAGE.items() if not name.endswith(("_sum", "_count"))}
    ours = {name.removesuffix("_bucket"): labels for name, labels in there.items() if name.startswith("streamrouter_")}
    assert written == ours


def test_every_event_of_the_log_has_its_row() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    told = set(re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE))))
    for path in (ROOT / "streamrouter").rglob("*.py"):
        logged = re.findall(r"\.event\(\s*(?:\w+|\"\w+\"),\s*\"(\w+)\"", path.read_text())
        assert set(logged) <= told, path.name
