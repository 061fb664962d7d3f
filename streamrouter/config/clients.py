"""How well-known clients are pointed at streamrouter: one table, for `streamrouter connect`, the console and the docs.

In a snippet ``<BASE>`` is the address with its /v1 and ``<MODEL>`` a model's id. The key is never in one: it comes from
the environment variable STREAMROUTER_API_KEY or from the client's own store.
"""

from __future__ import annotations

from msgspec import Struct


class Client(Struct, frozen=True):
    """One client: what it is called, where the snippet goes, and the snippet. ``language`` is for the docs' colours."""

    title: str
    place: str
    language: str
    snippet: str


CLIENTS: dict[str, Client] = {
    "curl": Client(
        "curl",
        "In a shell.",
        "sh",
        """\
curl -N <BASE>/chat/completions \\
  -H "Authorization: Bearer $STREAMROUTER_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "<MODEL>", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}'
""",
    ),
    "openai-python": Client(
        "OpenAI SDK for Python",
        "`pip install openai`. Or set OPENAI_BASE_URL and OPENAI_API_KEY, and change nothing.",
        "python",
        """\
import os

from openai import OpenAI

client = OpenAI(base_url="<BASE>", api_key=os.environ["STREAMROUTER_API_KEY"])
messages = [{"role": "user", "content": "Hello!"}]
for chunk in client.chat.completions.create(model="<MODEL>", messages=messages, stream=True):
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
""",
    ),
    "openai-node": Client(
        "OpenAI SDK for Node",
        "`npm install openai`.",
        "js",
        """\
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "<BASE>", apiKey: process.env.STREAMROUTER_API_KEY });
const messages = [{ role: "user", content: "Hello!" }];
const stream = await client.chat.completions.create({ model: "<MODEL>", messages, stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
""",
    ),
    "vercel-ai": Client(
        "Vercel AI SDK",
        "`npm install ai @ai-sdk/openai-compatible`.",
        "js",
        """\
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";

const apiKey = process.env.STREAMROUTER_API_KEY;
const provider = createOpenAICompatible({ name: "streamrouter", baseURL: "<BASE>", apiKey, includeUsage: true });
const { textStream } = streamText({ model: provider("<MODEL>"), prompt: "Hello!" });
for await (const text of textStream) process.stdout.write(text);
""",
    ),
    "langchain": Client(
        "LangChain",
        "`pip install langchain-openai`.",
        "python",
        """\
import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="<MODEL>", base_url="<BASE>", api_key=os.environ["STREAMROUTER_API_KEY"], stream_usage=True)
for chunk in model.stream("Hello!"):
    print(chunk.text, end="", flush=True)
""",
    ),
    "litellm": Client(
        "LiteLLM",
        "`pip install litellm`; the prefix `openai/` says which dialect it speaks.",
        "python",
        """\
import os

import litellm

messages = [{"role": "user", "content": "Hello!"}]
key = os.environ["STREAMROUTER_API_KEY"]
for chunk in litellm.completion("openai/<MODEL>", messages, api_base="<BASE>", api_key=key, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
""",
    ),
    "llm": Client(
        "llm",
        'In `extra-openai-models.yaml`, in the directory that `dirname "$(llm logs path)"` prints; then '
        "`llm keys set streamrouter` and `llm -m streamrouter Hello`.",
        "yaml",
        """\
- model_id: streamrouter
  model_name: <MODEL>
  api_base: <BASE>
  api_key_name: streamrouter
""",
    ),
    "aider": Client(
        "aider",
        "In a shell; the prefix `openai/` says which dialect it speaks.",
        "sh",
        """\
export OPENAI_API_BASE=<BASE>
export OPENAI_API_KEY="$STREAMROUTER_API_KEY"
aider --model openai/<MODEL>
""",
    ),
    "open-webui": Client(
        "Open WebUI",
        "Its environment (or Admin Settings, Connections, OpenAI API). In a container, 127.0.0.1 is the container: "
        "give the host's address, such as host.docker.internal.",
        "sh",
        """\
ENABLE_OLLAMA_API=false
OPENAI_API_BASE_URL=<BASE>
OPENAI_API_KEY=$STREAMROUTER_API_KEY
""",
    ),
    "librechat": Client(
        "LibreChat",
        "In `librechat.yaml`; the key is in its `.env`.",
        "yaml",
        """\
endpoints:
  custom:
    - name: streamrouter
      apiKey: "${STREAMROUTER_API_KEY}"
      baseURL: <BASE>
      models:
        default: ["<MODEL>"]
        fetch: true
""",
    ),
    "continue": Client(
        "Continue",
        "In `~/.continue/config.yaml`; the key is in its secrets.",
        "yaml",
        """\
models:
  - name: streamrouter
    provider: openai
    model: <MODEL>
    apiBase: <BASE>
    apiKey: ${{ secrets.STREAMROUTER_API_KEY }}
    roles: [chat, edit, apply]
""",
    ),
    "cursor": Client(
        "Cursor",
        "In Settings, Models, API Keys. Its servers call the address: it must be reachable from the internet by https.",
        "text",
        """\
OpenAI API Key:            your key
Override OpenAI Base URL:  <BASE>
Add model:                 <MODEL>
""",
    ),
}


def rendered(client: Client, base: str, model: str) -> str:
    """The snippet for a server whose address with its /v1 is ``base``."""
    return client.snippet.replace("<BASE>", base).replace("<MODEL>", model)
