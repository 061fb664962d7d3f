"""streamrouter: a streaming-first, OpenAI-compatible LLM proxy with exact, durable caps and balances."""

__version__ = "0.1.0"
