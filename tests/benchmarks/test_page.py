"""The report and the charts: well-formed, escaped, and nothing in them that a browser would fetch."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from benchmarks.chart import columns_chart, latency_chart, main_chart
from benchmarks.page import page
from benchmarks.results import Run

NAMESPACE = "http://www.w3.org/2000/svg"


class Seen(HTMLParser):
    """Tags and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_refers_to_nothing_outside(run: Run) -> None:
    text = page(run)
    seen = Seen()
    seen.feed(text)
    assert not {"script", "link", "img", "iframe", "object", "image", "use", "base"} & set(seen.tags)
    assert not {"src", "href", "xlink:href", "srcset", "data", "action", "style"} & seen.attributes
    assert set(re.findall(r"\w+://[^\s\"'<]+", text)) == {NAMESPACE}
    assert "url(" not in text
    assert "@import" not in text


def test_what_a_gateway_or_a_machine_is_called_stays_text(run: Run) -> None:
    text = page(run)
    assert "npm &lt;failed&gt;" in text
    assert "A &lt;CPU&gt;" in text
    assert "<c>" not in text


def test_every_gateway_has_its_dot_and_its_value(run: Run) -> None:
    tree = ElementTree.fromstring(main_chart(run))
    texts = [element.text for element in tree.iter(f"{{{NAMESPACE}}}text")]
    assert [texts.count(name) for name in ("nginx", "streamrouter", "TensorZero", "LiteLLM")] == [1, 1, 1, 1]
    assert texts.count("31.0 µs") == texts.count("801 µs") == 3
    dots = [each for each in tree.iter(f"{{{NAMESPACE}}}circle") if each.get("class", "").startswith("dot")]
    assert len(dots) == 12
    assert sum(each.get("class") == "dot us" for each in dots) == 3


def test_what_was_not_measured_is_said(run: Run) -> None:
    tree = ElementTree.fromstring(latency_chart(run))
    assert "not measured" in [element.text for element in tree.iter(f"{{{NAMESPACE}}}text")]


def test_an_empty_chart_is_one_too() -> None:
    assert ElementTree.fromstring(columns_chart("nothing", [], [], "")[:-1]).get("aria-label") == "nothing"
