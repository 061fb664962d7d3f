from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

import pytest

from streamrouter.config.expand import Given, expand, expand_tree, read_secret
from streamrouter.config.locate import Path

ENVIRON = {"HOST": "upstream.example", "EMPTY": "", "LOOP": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("https://${HOST}/v1", "https://upstream.example/v1"),
        ("${HOST}${HOST}", "upstream.exampleupstream.example"),
        ("${UNSET:-demo:}", "demo:"),
        ("${EMPTY:-demo:}", "demo:"),
        ("${HOST:-demo:}", "upstream.example"),
        ("${UNSET:-}", ""),
        ("${EMPTY}", ""),
        ("${LOOP}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$HOST costs $5", "$HOST costs $5"),
    ],
)
def test_variables(text: str, value: str) -> None:
    faults: list[str] = []
    assert expand(text, ENVIRON, faults.append) == value
    assert faults == []


@pytest.mark.parametrize("text", ["${UNSET}", "x ${UNSET} y"])
def test_an_unset_variable_is_a_fault_that_names_it(text: str) -> None:
    faults: list[str] = []
    expand(text, ENVIRON, faults.append)
    assert faults == ["the environment variable UNSET is not set; set it, or write ${UNSET:-default}"]


@pytest.mark.parametrize("text", ["${", "${HO ST}", "${1}", "${HOST", "${HOST:=x}"])
def test_what_is_no_reference_is_a_fault(text: str) -> None:
    faults: list[str] = []
    expand(text, ENVIRON, faults.append)
    assert len(faults) == 1
    assert "no ${NAME}" in faults[0]


def test_a_tree_is_expanded_in_its_strings_alone_and_faults_have_their_path() -> None:
    faults: list[tuple[Path, str]] = []
    tree: dict[str, Any] = {"${HOST}": ["${HOST}", 5, {"deep": "${UNSET}"}], "plain": "x", "yes": True}
    out = expand_tree(tree, ENVIRON, lambda path, fault: faults.append((path, fault)))
    assert out == {"${HOST}": ["upstream.example", 5, {"deep": ""}], "plain": "x", "yes": True}
    assert [path for path, _ in faults] == [("${HOST}", 2, "deep")]
    assert isinstance(out["${HOST}"][0], Given)
    assert out["${HOST}"][0].written == "${HOST}"
    assert not isinstance(out["plain"], Given)


def test_a_secret_is_read_and_stripped(tmp_path: FilePath) -> None:
    (tmp_path / "key").write_text("  sk-secret\n")
    faults: list[str] = []
    secret = read_secret("file:key", tmp_path, faults.append)
    assert secret == "sk-secret"
    assert isinstance(secret, Given)
    assert secret.written == "file:key"
    assert read_secret(f"file:{tmp_path}/key", FilePath("/nowhere"), faults.append) == "sk-secret"
    assert read_secret("sk-plain", tmp_path, faults.append) == "sk-plain"
    assert faults == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not text"),
        (b"x" * 65_537, "is longer than 64 KiB"),
        (None, "No such file"),
    ],
)
def test_a_secret_that_cannot_be_one(tmp_path: FilePath, content: bytes | None, fault: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    faults: list[str] = []
    assert read_secret("file:key", tmp_path, faults.append) == ""
    assert len(faults) == 1
    assert fault in faults[0]
