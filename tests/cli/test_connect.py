"""``streamrouter connect``: every client's configuration, for this server, without a key."""

from __future__ import annotations

import pytest

from streamrouter.config.clients import CLIENTS
from tests.cli.conftest import Command


@pytest.mark.parametrize("client", CLIENTS)
def test_a_clients_configuration_for_this_server(command: Command, client: str) -> None:
    shown = command.text("connect", client)
    assert "http://127.0.0.1:8000/v1" in shown
    assert "demo" in shown or client == "open-webui"
    assert "<" not in shown.replace("<<", "")  # nothing is left to fill in
    assert "sk-" not in shown


def test_another_address_surface_and_model(command: Command) -> None:
    for url in ("https://llm.example.com", "https://llm.example.com/", "https://llm.example.com/v1"):
        made = command.json("connect", "curl", "--url", url, "--model", "demo/large")
        assert (made["base_url"], made["model"]) == ("https://llm.example.com/v1", "demo/large")
        assert "https://llm.example.com/v1/chat/completions" in made["snippet"]
    assert command.json("connect", "aider", "--surface", "wl")["base_url"] == "http://127.0.0.1:8000/wl/v1"
    assert "there are: ours, wl" in command.error("connect", "aider", "--surface", "x")[1]["message"]


def test_the_list_and_a_name_that_is_nearly_one(command: Command) -> None:
    assert list(command.json("connect")) == list(CLIENTS)
    assert "open-webui" in command.text("connect")
    code, error = command.error("connect", "openwebui")
    assert (code, "did you mean open-webui?" in error["message"]) == (1, True)
    assert "there are: curl" in command.error("connect", "zzzz")[1]["message"]


def test_what_is_no_part_of_the_configuration_is_on_stderr(command: Command) -> None:
    result = command.run("connect", "llm")
    assert "extra-openai-models.yaml" in result.stderr
    assert result.stdout.startswith("- model_id: streamrouter\n")
