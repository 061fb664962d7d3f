"""Counters by encoding: loaded once, on first use or ahead of it, off the loop (o200k takes 0.4 s)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import tiktoken

from streamrouter.policy import encodings
from streamrouter.policy.catalog import Model
from streamrouter.policy.encodings import EncodingName
from streamrouter.policy.remembered import Remembered
from streamrouter.policy.tokens import PromptCount, count_prompt, count_text, needs_thread
from streamrouter.wire.chat import Call

# Top-level members that an upstream turns into prompt tokens.
COSTLY = ("tools", "functions", "response_format", "prediction", "tool_choice", "plugins")


class Counters:
    """Counts prompts and text for a model; one per app."""

    def __init__(self) -> None:
        self._loaded: dict[EncodingName, tiktoken.Encoding] = {}
        self._remembered: dict[EncodingName, Remembered] = {}  # of prompts; answers do not repeat

    async def load(self, name: EncodingName) -> tiktoken.Encoding:
        """The encoding of that name, from the package's own rank files."""
        encoding = self._loaded.get(name)
        if encoding is None:
            encoding = self._loaded[name] = await asyncio.to_thread(encodings.load, name)
            self._remembered[name] = Remembered(partial(count_text, encoding))
        return encoding

    async def prompt(self, model: Model, call: Call, owner: str) -> PromptCount:
        """Input tokens of a call: the local count and what to reserve. Long prompts are counted in a thread.

        ``owner``: whose it is (an account's id); what was counted for them before is remembered.
        """
        encoding = await self.load(model.encoding)
        extras = {name: call.members[name] for name in COSTLY if name in call.members}
        count = self._remembered[model.encoding].of(owner)
        arguments = (encoding, model.exact, call.messages, extras, model.image_tokens, count)
        if needs_thread(call.size):
            return await asyncio.to_thread(count_prompt, *arguments)
        return count_prompt(*arguments)

    async def text(self, model: Model) -> Callable[[str], int]:
        """A function that counts one text in the model's encoding."""
        encoding = await self.load(model.encoding)
        return lambda text: count_text(encoding, text)
