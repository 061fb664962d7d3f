// Models with their prices and targets, upstreams with their health; one prompt as a test.
import { html, useState } from "../core.js";
import { count, milliseconds } from "../format.js";
import { Badge, Brief, Count, Dialog, Empty, Facts, Field, Form, Loaded, Page, Table, Time } from "../parts.js";
import { get, post, rowsOf, useLoad } from "../server.js";

const STATES = { closed: ["well", "good"], half_open: ["trying again", "warn"], open: ["resting", "bad"] };

export function Models() {
  const upstreams = useLoad((signal) => get("/upstreams", {}, signal), [], 5000);
  const models = useLoad((signal) => get("/models", {}, signal), []);
  const [testing, setTesting] = useState(null);
  return html`<${Page} title="Models & upstreams"
    lead="Both stand in the configuration file; the server takes a changed file over without dropping a stream.">
    <section class="card"><h2>Upstreams</h2>
      <${Loaded} of=${upstreams}>${(data) => rowsOf(data).length
        ? html`<${Table} caption="Upstreams" keyOf=${(row) => row.name} columns=${upstreamColumns(setTesting)}
          rows=${rowsOf(data)} />`
        : html`<${Empty} title="No upstreams"
          command="streamrouter check --probe">Name one in the configuration:</${Empty}>`}</${Loaded}>
    </section>
    <section class="card"><h2>Models</h2>
      <${Loaded} of=${models}>${(data) => rowsOf(data).length
        ? html`<${Table} caption="Models, prices in USD per million tokens" columns=${MODEL_COLUMNS} rows=${rowsOf(data)} />`
        : html`<${Empty} title="No models" command="streamrouter check">Name one in the configuration:</${Empty}>`}</${Loaded}>
    </section>
    ${testing && html`<${Test} upstream=${testing} models=${rowsOf(models.data)}
      close=${() => { setTesting(null); upstreams.reload(); }} />`}
  </${Page}>`;
}

const upstreamColumns = (test) => [
  ["Name", (row) => html`<strong>${row.name}</strong>
    <span class="sub break">${row.base_url}${row.preset ? ` (${row.preset})` : ""}</span>`, "free"],
  ["State", (row) => {
    const [word, tone] = STATES[row.state] ?? [row.state, "warn"];
    return html`<${Badge} of=${word} tone=${tone} />${row.cooldown_until && html`<span class="sub">until <${Time}
      at=${row.cooldown_until} /></span>`}`;
  }],
  ["TTFT 50 %", (row) => milliseconds(row.ttft_p50_ms), "num"],
  ["TTFT 95 %", (row) => milliseconds(row.ttft_p95_ms), "num"],
  ["Gap 99 %", (row) => milliseconds(row.gap_p99_ms), "num"],
  ["Requests", (row) => html`<${Count} of=${row.requests} />`, "num"],
  ["Errors", (row) => html`<${Count} of=${row.errors} />`, "num"],
  ["", (row) => html`<button class="small" onClick=${() => test(row)}>Test</button>`, "acts"],
];

const price = (value) => html`<span class="nowrap"
  title=${value == null ? "" : `$${value} per million tokens`}>${value == null ? "–" : `$${value}`}</span>`;

const targetsOf = (row) => row.targets.map((target) => `${target.upstream}: ${target.model}`).join(", ");

const MODEL_COLUMNS = [
  ["Model", (row) => html`<strong>${row.id}</strong>${row.name && row.name !== row.id ? html`<span
    class="sub">${row.name}${row.owned_by ? `, ${row.owned_by}` : ""}</span>` : ""}`, "free"],
  ["Targets", (row) => html`<span class="break">${targetsOf(row)}</span>`, "free"],
  ["Context", (row) => html`<${Brief} of=${row.context_length} />`, "num"],
  ["Longest answer", (row) => html`<${Brief} of=${row.max_output_tokens} />`, "num"],
  ["Input", (row) => price(row.price?.input), "num"],
  ["Cached", (row) => price(row.price?.cache_read), "num"],
  ["Output", (row) => price(row.price?.output), "num"],
  ["Streams", (row) => (row.streaming === false ? "no" : "yes")],
];

function Test({ upstream, models, close }) {
  const [result, setResult] = useState(null);
  const served = models.filter((model) => model.targets.some((target) => target.upstream === upstream.name));
  const submit = async ({ model }) => {
    setResult(null);
    setResult(await post(`/upstreams/${upstream.name}/test`, { model }));
  };
  return html`<${Dialog} title=${`Test ${upstream.name}`} close=${close}>
    <${Form} submit=${submit} action="Send one prompt" cancel=${close}>
    <p>A short prompt goes to the upstream with its own key. No user is charged for it; the provider may charge you.</p>
    <${Field} label="Model"><select name="model">${(served.length ? served : models).map((model) => html`<option
      value=${model.id}>${model.id}</option>`)}</select></${Field}>
    <div aria-live="polite">${result && html`<div class=${`notice ${result.ok ? "good" : "bad"}`}><${Facts} rows=${[
      ["Result", result.ok ? "it answered" : "it failed"], result.status && ["Status", count(result.status).replace("\u202f", "")],
      result.ttft_ms != null && ["TTFT", milliseconds(result.ttft_ms)], ["It said", result.ok ? result.text : result.error],
    ]} /></div>`}</div>
  </${Form}></${Dialog}>`;
}
