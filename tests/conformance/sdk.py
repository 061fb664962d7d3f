"""The official OpenAI Python SDK, its blocking and its asynchronous client behind one set of calls."""

from __future__ import annotations

import inspect
from typing import Any

import openai

from tests.support.server import Server

MESSAGES = [{"role": "user", "content": "Say hello."}]


class Sdk:
    """One client. Calls return (or raise) what the SDK does."""

    def __init__(self, kind: str, server: Server, *, key: str = "", path: str = "/v1", max_retries: int = 0) -> None:
        make: Any = openai.AsyncOpenAI if kind == "async" else openai.OpenAI
        self.client = make(
            api_key=key or server.key, base_url=server.root + path, max_retries=max_retries, timeout=20.0
        )

    async def create(self, **more: Any) -> Any:
        """``chat.completions.create`` (a stream's chunks as a list)."""
        members = {"model": "test", "messages": MESSAGES, **more}
        answer = await settled(self.client.chat.completions.create(**members))
        return await listed(answer) if members.get("stream") else answer

    async def raw(self, **more: Any) -> Any:
        """``chat.completions.with_raw_response.create``"""
        members = {"model": "test", "messages": MESSAGES, **more}
        return await settled(self.client.chat.completions.with_raw_response.create(**members))

    async def helper(self, **more: Any) -> Any:
        """The final completion that ``chat.completions.stream`` puts together."""
        manager = self.client.chat.completions.stream(**{"model": "test", "messages": MESSAGES, **more})
        if hasattr(manager, "__aenter__"):
            async with manager as stream:
                return await stream.get_final_completion()
        with manager as stream:
            return stream.get_final_completion()

    async def models(self) -> list[Any]:
        return await listed(self.client.models.list())

    async def model(self, name: str) -> Any:
        return await settled(self.client.models.retrieve(name))

    async def close(self) -> None:
        await settled(self.client.close())


async def settled(value: Any) -> Any:
    """``value``, awaited where the client is the asynchronous one."""
    return await value if inspect.isawaitable(value) else value


async def listed(values: Any) -> list[Any]:
    """Everything that an iterable of either kind gives."""
    return [value async for value in values] if hasattr(values, "__aiter__") else list(values)
