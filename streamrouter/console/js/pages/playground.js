// The playground: a chat against the real API, with a key, as any client would; beside it, what the stream looks like from
// outside, and how it was held and charged.
import { html, to, useEffect, useReducer, useRef, useState, useStore } from "../core.js";
import { count, milliseconds, money, rate } from "../format.js";
import { baseOf, isHere, KeyCard, useSurfaces } from "../keys.js";
import { Settlement } from "./books.js";
import { curl, openaiNode, openaiPython } from "./connect.js";
import { Badge, Fault, Ms, Page, Snippet, Tabs } from "../parts.js";
import { get, useLoad, vault } from "../server.js";

const SNIPPETS = [["curl", "curl", curl], ["python", "Python", openaiPython], ["node", "Node", openaiNode]];

export function Playground({ person }) {
  const key = useStore(vault);
  const surfaces = useSurfaces(person);
  const known = (surfaces.data?.surfaces ?? []).filter(isHere);
  const surface = known.find((each) => each.name === key?.surface) ?? known[0];
  const models = useModels(key, surface);
  const [settings, setSettings] = useState({ model: "", system: "", max_tokens: "", temperature: "", stream: true });
  const chosen = models.data?.some((model) => model.id === settings.model) ? settings.model : (models.data?.[0]?.id ?? settings.model);
  const [turns, setTurns] = useState([]);
  const [run, setRun] = useState(null);
  const [, drawn] = useReducer((times) => times + 1, 0);
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), []);
  const busy = run?.state === "waiting" || run?.state === "streaming";
  const streams = settings.stream && surface?.streaming === "relay";

  const bodyOf = (messages) => ({
    model: chosen,
    messages: [...(settings.system ? [{ role: "system", content: settings.system }] : []), ...messages],
    ...(settings.max_tokens ? { max_tokens: Number(settings.max_tokens) } : {}),
    ...(settings.temperature ? { temperature: Number(settings.temperature) } : {}),
    ...(streams ? { stream: true, stream_options: { include_usage: true } } : { stream: false }),
  });
  const send = async (text) => {
    const messages = [...turns, { role: "user", content: text }];
    const started = blankRun();
    setTurns(messages);
    setRun(started);
    stop.current = new AbortController();
    const { signal } = stop.current;
    const way = { base: baseOf(surface), secret: key.secret, admin: person.role === "admin" };
    await ask({ ...way, body: bodyOf(messages), run: started, signal, draw: drawn });
    if (started.text) setTurns([...messages, { role: "assistant", content: started.text }]);
    drawn();
  };
  const price = models.data?.find((model) => model.id === chosen)?.pricing;
  return html`<${Page} title="Playground" actions=${turns.length > 0 && html`<button disabled=${busy}
    onClick=${() => { setTurns([]); setRun(null); }}>New chat</button>`}>
    <${Fault} of=${surfaces.error} retry=${surfaces.reload} />
    <${KeyCard} person=${person} surfaces=${known} />
    ${key && surface && html`<${Fault} of=${models.error} />
      <div class="play">
        <div class="stack">
          <${Settings} of=${settings} set=${setSettings} models=${models.data ?? []} chosen=${chosen} surface=${surface} />
          <${Thread} turns=${turns} run=${run} busy=${busy} />
          <${Composer} send=${send} busy=${busy} ready=${Boolean(chosen)} stop=${() => stop.current?.abort()} />
          <${Copied} body=${bodyOf(turns.filter((turn, at) => turn.role === "user" || at < turns.length - 1))}
            base=${baseOf(surface)} />
        </div>
        <${Inspector} run=${run} price=${price} />
      </div>`}
  </${Page}>`;
}

/** The models that the key may use, as the API itself lists them. */
function useModels(key, surface) {
  return useLoad(async (signal) => {
    if (!key || !surface) return null;
    const response = await fetch(`${baseOf(surface)}/models`, { headers: { authorization: `Bearer ${key.secret}` }, credentials: "omit", signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error?.message ?? answer.detail ?? `The API answered ${response.status}.`);
    return answer.data;
  }, [key?.secret, surface?.name]);
}

function Settings({ of, set, models, chosen, surface }) {
  const change = (event) => set({ ...of, [event.target.name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  return html`<section class="card stack">
    <div class="pair">
      <label><span>Model</span><select name="model" value=${chosen} onChange=${change}>${models.map((model) => html`<option
        value=${model.id} selected=${model.id === chosen}>${model.id}</option>`)}</select></label>
      <label><span>Longest answer, tokens</span><input name="max_tokens" type="number" min="1" value=${of.max_tokens}
        onInput=${change} placeholder="the model's default" /></label>
    </div>
    <details><summary>More</summary><div class="stack">
      <label><span>System prompt</span><textarea name="system" value=${of.system} onInput=${change} rows="2"></textarea></label>
      <label><span>Temperature</span><input name="temperature" type="number" min="0" max="2" step="0.1" value=${of.temperature}
        onInput=${change} placeholder="the model's default" /></label>
      <label class="check"><input name="stream" type="checkbox" checked=${of.stream}
        disabled=${surface.streaming !== "relay"} onChange=${change} /><span>Stream the answer</span></label>
    </div></details>
  </section>`;
}

function Thread({ turns, run, busy }) {
  const failed = run?.error && html`<div class="notice bad"
    role="alert">${run.error.message ?? String(run.error)}${run.error.code && html` <small>(${run.error.code})</small>`}</div>`;
  const live = busy && html`<div class="turn"><span class="by">assistant</span>${run.think && html`<span
    class="think">${run.think}</span>`}${run.text || html`<span class="muted spin">…</span>`}</div>`;
  return html`<div class="thread" aria-label="The chat">${turns.map((turn) => html`<div class=${`turn ${turn.role}`}>
    <span class="by">${turn.role === "user" ? "you" : turn.role}</span>${turn.content}</div>`)}${live}${failed}</div>`;
}

function Composer({ send, busy, ready, stop }) {
  const [text, setText] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (busy || !ready || !text.trim()) return;
    send(text);
    setText("");
  };
  const key = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && submit(event);
  return html`<form class="composer" onSubmit=${submit}>
    <label><span class="unseen">Your message</span><textarea name="message" rows="2" value=${text}
      onInput=${(event) => setText(event.target.value)} onKeyDown=${key}
      placeholder="Say something. Enter sends, Shift+Enter is a new line."></textarea></label>
    <div class="ends">${busy ? html`<button type="button" class="danger" onClick=${stop}>Stop</button>` : html`<button
      type="submit" class="primary" disabled=${!ready || !text.trim()}>Send</button>`}</div>
  </form>`;
}

function Copied({ body, base }) {
  const [which, setWhich] = useState("curl");
  const asked = body.messages.some((message) => message.role === "user");
  const shown = asked ? body : { ...body, messages: [...body.messages, { role: "user", content: "Hello!" }] };
  const text = SNIPPETS.find(([name]) => name === which)[2](base, "", shown);
  return html`<details><summary>The same in code</summary><div class="stack">
    <${Tabs} label="Language" options=${SNIPPETS.map(([name, title]) => [name, title])} value=${which} choose=${setWhich} />
      <${Snippet} text=${text} label="Copy" />
  </div></details>`;
}

/** Yields {at, text} for each `data:` event (`at`: ms since `began`), until the body ends. */
export async function* events(response, began) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (let part; !(part = await reader.read()).done;) {
      const at = performance.now() - began;
      const whole = (rest + part.value).split("\n\n");
      rest = whole.pop();
      for (const event of whole) {
        if (event.startsWith("data: ")) yield { at, text: event.slice(6) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const MOST_RAW = 400;
const EDGES = [2, 5, 10, 20, 50, 100, 200, 500, 1000, Infinity]; // ms

/** What is known of a run before its first byte. */
export const blankRun = () => ({
  state: "waiting", id: "", text: "", think: "", events: 0, deltas: 0, ttft_ms: null, last_ms: 0, gaps: EDGES.map(() => 0),
  longest_ms: 0, raw: [], usage: null, error: null, finish: null, upstream: "", request: null, limit: null,
});

/** Takes one event into the run; changes it in place, drawing is the page's. */
export function take(run, { at, text }) {
  run.events += 1;
  if (run.raw.push(text) > MOST_RAW) run.raw.shift();
  if (text === "[DONE]") return;
  const event = parsed(text);
  if (event === null) return;
  run.id ||= event.request_id ?? "";
  if (event.error) run.error = event.error;
  if (event.usage) run.usage = event.usage;
  const choice = event.choices?.[0];
  if (!choice) return;
  run.finish = choice.finish_reason ?? run.finish;
  const { content = "", reasoning_content: think = "", refusal = "" } = choice.delta ?? choice.message ?? {};
  if (!content && !think && !refusal) return;
  run.text += content || refusal || "";
  run.think += think || "";
  if (run.ttft_ms === null) run.ttft_ms = at;
  else gap(run, at - run.last_ms);
  run.last_ms = at;
  run.deltas += 1;
  run.state = "streaming";
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function gap(run, ms) {
  run.gaps[EDGES.findIndex((edge) => ms <= edge)] += 1;
  run.longest_ms = Math.max(run.longest_ms, ms);
}

/** USD by the model's prices (per million tokens) for what was counted so far. */
function costSoFar(run, price) {
  if (!price) return null;
  const of = (name) => Number(price[name]);
  const input = run.usage?.prompt_tokens ?? 0;
  const cached = run.usage?.prompt_tokens_details?.cached_tokens ?? 0;
  const output = run.usage?.completion_tokens ?? run.deltas;
  return ((input - cached) * of("input") + cached * of("cache_read") + output * of("output")) / 1e6;
}

export function Inspector({ run, price }) {
  if (!run) return html`<section class="card"><h2>Stream inspector</h2>
    <p class="muted">Send something: its first token, its pace and its price are shown here as they come.</p></section>`;
  const streamed_s = (run.last_ms - (run.ttft_ms ?? 0)) / 1000;
  const tile = (name, value, exact = "") => html`<div class="tile" title=${exact}><dt>${name}</dt><dd>${value}</dd></div>`;
  const cost = costSoFar(run, price);
  return html`<section class="card stack" aria-label="Stream inspector">
    <div class="head"><h2>Stream inspector</h2> <${State} run=${run} /></div>
    <dl class="tiles">
      ${tile("TTFT", html`<${Ms} of=${run.ttft_ms === null ? null : Math.round(run.ttft_ms)} />`)}
      ${tile("Tokens / s", streamed_s > 0 ? rate((run.deltas - 1) / streamed_s) : "–", "deltas a second, after the first")}
      ${tile("Longest gap", run.deltas > 1 ? milliseconds(Math.round(run.longest_ms)) : "–")}
      ${tile(run.usage ? "Tokens in" : "Events", count(run.usage?.prompt_tokens ?? run.events))}
      ${tile("Tokens out", run.usage ? count(run.usage.completion_tokens) : `≈ ${count(run.deltas)}`)}
      ${tile("Cost", cost === null ? "–" : `${run.usage ? "" : "≈ "}${money(cost.toFixed(12))}`, cost === null ? "" : `$${cost.toFixed(12)}`)}
    </dl>
    ${run.deltas > 1 && html`<div><h3>Gaps between deltas</h3><${Histogram} gaps=${run.gaps} /></div>`}
    ${run.request && html`<div><h3>Reserved and settled</h3><${Settlement} of=${run.request} />
      ${run.request.end && run.request.end !== "finished" && html`<p
        class="notice warn">Ended as “${run.request.end.replaceAll("_", " ")}”: billed by what had been read,
        usage source ${String(run.request.usage_source).replaceAll("_", " ")}.</p>`}</div>`}
    ${run.id && html`<p><a href=${to(`/requests/${run.id}`)}>The request</a> <code>${run.id}</code>${run.upstream && html` by ${run.upstream}`}</p>`}
    <details><summary>Raw events (${count(run.events)})</summary><pre class="raw" tabindex="0">${run.raw.join("\n")}</pre>
      </details>
  </section>`;
}

const STATES = {
  waiting: ["waiting", "info"], streaming: ["streaming", "info"], done: ["done", "good"], failed: ["failed", "bad"],
  stopped: ["stopped by you", "warn"],
};

function State({ run }) {
  const [word, tone] = STATES[run.state];
  return html`<span aria-live="polite"><${Badge} of=${word} tone=${tone} />${run.finish && html` <${Badge}
    of=${run.finish} />`}</span>`;
}

function Histogram({ gaps }) {
  const most = Math.max(1, ...gaps);
  const label = (index) => (EDGES[index] === Infinity ? "more" : `${EDGES[index]}`);
  const says = gaps.map((times, index) => (times ? `up to ${label(index)} ms: ${times}` : "")).filter(Boolean).join(", ");
  return html`<svg class="histogram" viewBox="0 0 400 92" role="img" aria-label=${`Gaps in milliseconds. ${says}`}>
    ${gaps.map((times, index) => html`<g>
      <rect x=${index * 40 + 4} width="32" y=${70 - (56 * times) / most} height=${(56 * times) / most} rx="2">
        <title>${times} gaps up to ${label(index)} ms</title></rect>
      ${times > 0 && html`<text x=${index * 40 + 20} y=${66 - (56 * times) / most}>${times}</text>`}
      <text x=${index * 40 + 20} y="86">${index === 0 ? "≤ 2 ms" : label(index)}</text></g>`)}
  </svg>`;
}

const SETTLED_WITHIN_MS = [150, 300, 600, 1200, 2400];

/** Fills `run` and calls `draw` as it changes. Never throws: what went wrong is in `run.error`. */
export async function ask({ base, secret, body, run, signal, admin, draw }) {
  const paint = painter(draw);
  try {
    const began = performance.now();
    const response = await fetch(`${base}/chat/completions`, {
      method: "POST", body: JSON.stringify(body), signal, credentials: "omit", cache: "no-store",
      headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
    });
    run.id = response.headers.get("x-request-id") ?? "";
    run.upstream = response.headers.get("x-streamrouter-upstream") ?? "";
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
      watchHold(run, admin, paint);
      for await (const event of events(response, began)) {
        take(run, event);
        paint();
      }
    } else take(run, { at: performance.now() - began, text: await response.text() });
    if (!response.ok && !run.error) run.error = { message: run.raw[0]?.slice(0, 300) || `The API answered ${response.status}.` };
    run.state = run.error ? "failed" : "done";
  } catch {
    if (signal.aborted) run.state = "stopped";
    else Object.assign(run, { state: "failed", error: { message: "The connection broke before the answer was whole." } });
  }
  draw();
  if (run.id) await settled(run, admin, draw);
}

/** Draws at most once a frame. */
function painter(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

const explained = (run, admin) => get(`${admin ? "" : "/me"}/requests/${run.id}`);

async function watchHold(run, admin, paint) {
  try {
    run.request ??= await explained(run, admin);
    paint();
  } catch {
    // a key of somebody else's: the stream can be seen, its books cannot
  }
}

async function settled(run, admin, draw) {
  for (const wait of SETTLED_WITHIN_MS) {
    await new Promise((wake) => setTimeout(wake, wait));
    try {
      run.request = await explained(run, admin);
    } catch {
      return;
    }
    draw();
    if (run.request.state !== "open") return;
  }
}
