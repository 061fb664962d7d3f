// Ready-made clients for every surface, and whether a browser client may call it. In the snippets `base` is the base
// URL, `key` the key, or "" for the variable that holds it.
import { html, setQuery, to, useState, useStore } from "../core.js";
import { baseOf, isHere, useSurfaces } from "../keys.js";
import { Empty, Facts, Field, Loaded, Page, Snippet, Tabs } from "../parts.js";
import { vault } from "../server.js";

export function Connect({ query, person }) {
  const surfaces = useSurfaces(person);
  return html`<${Page} title="Connect" lead="Point any OpenAI client at this server: it needs a base URL, a key and a model.">
    <${Loaded} of=${surfaces}>${({ surfaces: known, cors }) => known.length
      ? html`<${Surface} known=${known} cors=${cors} query=${query} />`
      : html`<${Empty} title="No surface"
        command="streamrouter check">The configuration names where the API is mounted.</${Empty}>`}</${Loaded}>
  </${Page}>`;
}

function Surface({ known, cors, query }) {
  const surface = known.find((each) => each.name === query.surface) ?? known[0];
  const [, title, text] = CLIENTS.find(([name]) => name === query.client) ?? CLIENTS[0];
  const key = useStore(vault);
  const [shown, setShown] = useState(false);
  const model = query.model || surface.models?.[0] || "demo";
  const body = { model, messages: [{ role: "user", content: "Hello!" }], stream: surface.streaming === "relay" };
  const base = baseOf(surface);
  const secret = shown && key?.surface === surface.name ? key.secret : "";
  const choose = (what) => setQuery({ ...query, ...what });
  return html`
    ${known.length > 1 && html`<${Tabs} label="Surface" value=${surface.name} choose=${(name) => choose({ surface: name })}
      options=${known.map((each) => [each.name, `${each.name} ${each.base_path}`])} />`}
    <section class="card"><${Facts} rows=${[
      ["Base URL", html`<code>${base}</code>`], ["Key", html`begins with <code>${surface.key_prefix}</code>; make one under <a
        href=${to("/me")}>My key</a> or Users & keys`],
      ["Streaming", { relay: "yes", single: "asked for, it answers with one JSON object", reject: "no: it is refused" }[surface.streaming]],
    ]} /></section>
    <section class="card stack">
      <${Tabs} label="Client" value=${CLIENTS.find(([, each]) => each === title)[0]}
        choose=${(name) => choose({ client: name })} options=${CLIENTS.map(([name, each]) => [name, each])} />
      <div class="pair">
        <${Field} label="Model" value=${body.model} onChange=${(event) => choose({ model: event.target.value.trim() })}
          autocomplete="off" spellcheck="false" />
        ${key?.surface === surface.name && html`<label class="check">
          <input type="checkbox" checked=${shown} onChange=${(event) => setShown(event.target.checked)} />
          <span>With the key that this page holds</span></label>`}
      </div>
      <${Snippet} text=${text(base, secret, body)} />
    </section>
    <${CorsTest} surface=${surface} base=${base} cors=${cors} />`;
}

function CorsTest({ surface, base, cors }) {
  const [origin, setOrigin] = useState("https://app.example.com");
  const [found, setFound] = useState(null);
  const test = async () => {
    try {
      const response = await fetch(`${base}/chat/completions`, { method: "OPTIONS" });
      const allowed = response.headers.get("access-control-allow-origin");
      setFound({ status: response.status, allowed, methods: response.headers.get("access-control-allow-methods") });
    } catch {
      setFound({ failed: true });
    }
  };
  const listed = cors && (cors.includes("*") || cors.includes(origin));
  return html`<section class="card stack"><h2>May a browser client call it?</h2>
    <p class="muted">A page of another origin is let in where <code>[server] cors_origins</code> names that origin.
      This page asks as itself; for another origin paste the line below into that page's developer console.</p>
    <div class="row"><button onClick=${test}
      disabled=${!isHere(surface)}>Test from here</button>${!isHere(surface) && html`<span
      class="muted">This surface has a host of its own.</span>`}</div>
    <div aria-live="polite">${found && html`<p
      class=${`notice ${found.failed || !found.allowed ? "warn" : "good"}`}>${found.failed ? "The preflight could not be sent."
      : found.allowed === "*" ? "Every origin may call."
      : found.allowed ? `${found.allowed} may call (${found.methods}).`
      : `The preflight was answered (${found.status}) without a permission: ${location.origin} is not in cors_origins. `
        + "From the same origin it works all the same."}</p>`}</div>
    <${Field} label="Another origin" value=${origin} onInput=${(event) => setOrigin(event.target.value.trim())}
      spellcheck="false" autocomplete="off" />
    ${cors && html`<p class=${`notice ${listed ? "good" : "warn"}`}>${listed ? `The configuration lets ${origin} in.`
      : html`Not let in yet. In the configuration: <code>cors_origins = ${JSON.stringify([...cors, origin])}</code>`}</p>`}
    <${Snippet} text=${preflight(base, origin)} /><${Snippet} text=${fromThere(base)} />
  </section>`;
}

const preflight = (base, origin) => `curl -i -X OPTIONS ${base}/chat/completions -H ${quoted(`Origin: ${origin}`)} `
  + "-H 'Access-Control-Request-Method: POST' -H 'Access-Control-Request-Headers: authorization, content-type'";

const fromThere = (base) => `fetch(${json(`${base}/models`)}, { headers: { authorization: "Bearer x" } })`
  + '.then((r) => console.log("let in, status", r.status), () => console.log("not let in"))';

const VARIABLE = "STREAMROUTER_API_KEY";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const json = (value, indent) => JSON.stringify(value, null, indent);

/** Python's words for a JSON value. */
function python(value, indent = 0) {
  const pad = " ".repeat(indent + 4);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return json(value);
  const list = Array.isArray(value);
  const word = (each) => python(each, indent + 4);
  const inner = list ? value.map(word) : Object.entries(value).map(([name, each]) => `${json(name)}: ${word(each)}`);
  return `${list ? "[" : "{"}\n${inner.map((line) => `${pad}${line},\n`).join("")}${" ".repeat(indent)}${list ? "]" : "}"}`;
}

export const curl = (base, key, body) =>
  `curl -N ${base}/chat/completions \\\n  -H ${key ? quoted(`Authorization: Bearer ${key}`) : `"Authorization: Bearer $${VARIABLE}"`} \\\n`
  + `  -H 'Content-Type: application/json' \\\n  -d ${quoted(json(body))}`;

const pythonKey = (key) => (key ? json(key) : `os.environ["${VARIABLE}"]`);
const nodeKey = (key) => (key ? json(key) : `process.env.${VARIABLE}`);

export const openaiPython = (base, key, body) => `${key ? "" : "import os\n\n"}from openai import OpenAI

client = OpenAI(base_url=${json(base)}, api_key=${pythonKey(key)})
${body.stream ? "stream" : "answer"} = client.chat.completions.create(
${Object.entries(body).map(([name, value]) => `    ${name}=${python(value, 4)},`).join("\n")}
)
${body.stream ? `for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)` : "print(answer.choices[0].message.content)"}
`;

export const openaiNode = (base, key, body) => `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${json(base)}, apiKey: ${nodeKey(key)} });
const ${body.stream ? "stream" : "answer"} = await client.chat.completions.create(${json(body, 2)});
${body.stream ? `for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}` : "console.log(answer.choices[0].message.content);"}
`;

const llm = (base, key, { model }) => `# ~/.config/io.datasette.llm/extra-openai-models.yaml
- model_id: streamrouter/${model}
  model_name: ${model}
  api_base: ${base}
  api_key_name: streamrouter

# then
llm keys set streamrouter${key ? ` --value ${quoted(key)}` : ""}
llm -m ${quoted(`streamrouter/${model}`)} 'Hello!'
`;

const openWebui = (base, key) => `docker run -d -p 3000:8080 \\
  -e OPENAI_API_BASE_URL=${quoted(base)} \\
  -e OPENAI_API_KEY=${key ? quoted(key) : `"$${VARIABLE}"`} \\
  -v open-webui:/app/backend/data ghcr.io/open-webui/open-webui:main

# or in a running one: Settings → Connections → OpenAI API
#   URL  ${base}
#   Key  ${key || `the value of ${VARIABLE}`}
`;

const langchain = (base, key, { model, stream }) => `${key ? "" : "import os\n\n"}from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model=${json(model)},
    base_url=${json(base)},
    api_key=${pythonKey(key)},
    stream_usage=${stream ? "True" : "False"},
)
${stream ? `for chunk in model.stream("Hello!"):
    print(chunk.content, end="", flush=True)` : 'print(model.invoke("Hello!").content)'}
`;

/** name, title, text(base, key, body) */
const CLIENTS = [
  ["curl", "curl", curl], ["python", "openai-python", openaiPython], ["node", "openai-node", openaiNode],
  ["llm", "llm", llm], ["open-webui", "open-webui", openWebui], ["langchain", "LangChain", langchain],
];
