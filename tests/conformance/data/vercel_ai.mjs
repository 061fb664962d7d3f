// The Vercel AI SDK as a program: each line of JSON on stdin is one call, each line on stdout what became of it.
// {provider, url, key, model?, prompt?, stream?, tool?, abortAfter?, maxRetries?, hurry?}
import { createInterface } from "node:readline";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;

// "hurry": the SDK's waits between its tries are a hundredth of what they are.
const patient = globalThis.setTimeout;
let hurry = false;
globalThis.setTimeout = (call, ms, ...more) => patient(call, hurry ? ms / 100 : ms, ...more);

const models = {
  compatible: ({ url, key }) =>
    createOpenAICompatible({ name: "streamrouter", baseURL: url, apiKey: key, includeUsage: true }),
  openai: ({ url, key }) => createOpenAI({ baseURL: url, apiKey: key }).chat,
};

const weather = tool({
  description: "The weather of a city.",
  inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
  execute: async ({ city }) => ({ city, sky: "clear" }),
});

// A RetryError holds the last of its errors; an APICallError holds the response's status and body.
function told(error) {
  const last = error?.lastError ?? error;
  const body = last?.data?.error ?? last?.error ?? last;
  return {
    name: last?.name ?? typeof last,
    status: last?.statusCode ?? null,
    code: body?.code ?? null,
    message: body?.message ?? String(last),
    tries: error?.errors?.length ?? 1,
  };
}

async function streamed(options, job, result) {
  const aborting = new AbortController();
  const stream = streamText({ ...options, abortSignal: aborting.signal, onError: () => {} });
  let pieces = 0;
  for await (const part of stream.fullStream) {
    if (part.type === "text-delta") {
      result.text += part.text;
      pieces += 1;
      if (pieces === job.abortAfter) aborting.abort();
    } else if (part.type === "tool-call") result.calls.push([part.toolCallId, part.toolName, part.input]);
    else if (part.type === "error") result.error = told(part.error);
    else if (part.type === "abort") result.aborted = true;
    else if (part.type === "finish") Object.assign(result, { reason: part.finishReason, usage: part.totalUsage });
  }
}

async function whole(options, result) {
  const { text, finishReason, totalUsage } = await generateText(options);
  Object.assign(result, { text, reason: finishReason, usage: totalUsage });
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const result = { text: "", calls: [], error: null, aborted: false, reason: null, usage: null };
  const options = {
    model: models[job.provider](job)(job.model ?? "test"),
    prompt: job.prompt ?? "Say hello.",
    maxOutputTokens: job.maxOutputTokens,
    ...(job.maxRetries === undefined ? {} : { maxRetries: job.maxRetries }),
    ...(job.tool ? { tools: { weather }, stopWhen: stepCountIs(3) } : {}),
  };
  hurry = job.hurry ?? false;
  try {
    await (job.stream === false ? whole(options, result) : streamed(options, job, result));
  } catch (error) {
    result.error = told(error);
  }
  process.stdout.write(JSON.stringify(result) + "\n");
}
