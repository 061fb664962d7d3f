"""OpenAI's own schemas, as validators."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_COMPONENTS = json.loads((Path(__file__).parent / "data" / "openai_components.json").read_text())["$defs"]


@functools.cache
def _validator(name: str) -> Any:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _COMPONENTS})


def faults(value: Any, name: str) -> list[str]:
    """Everything in which ``value`` is not what OpenAI's component ``name`` says, by its place."""
    return [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(value)]


def chunk_faults(events: list[Any]) -> list[str]:
    """The same for every event of a stream but its ``[DONE]``."""
    return [
        fault
        for event in events
        if event != "[DONE]"
        for fault in faults(event, "ErrorResponse" if "error" in event else "CreateChatCompletionStreamResponse")
    ]
