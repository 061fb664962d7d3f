// What happens now: the overview, and the streams in flight.
import { go, html, setQuery, to, useEffect, useRef, useState } from "../core.js";
import { count, milliseconds, moment, money, rate, seconds } from "../format.js";
import { Badge, Confirm, Count, Empty, Fault, Loaded, Page, say, Table, Tabs } from "../parts.js";
import { Trouble } from "./books.js";
import { get, post, rowsOf, useLive, useLoad } from "../server.js";

const RANGES = [["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["7d", "7 d"], ["30d", "30 d"]];
const FIRST = `curl -N ${location.origin}/v1/chat/completions -H "Authorization: Bearer $STREAMROUTER_API_KEY" `
  + `-H "Content-Type: application/json" -d '{"model": "demo", "stream": true, "messages": [{"role": "user", "content": "Hello!"}]}'`;
const DOTS = { closed: "", half_open: "warn", open: "bad" };

export function Overview({ query }) {
  const range = RANGES.some(([name]) => name === query.range) ? query.range : "1h";
  const [paused, setPaused] = useState(false);
  const live = useLive(!paused);
  const series = useLoad((signal) => get("/series", { range }, signal), [range], paused ? 0 : 5000);
  const actions = html`
    <${Tabs} label="Range" options=${RANGES} value=${range} choose=${(name) => setQuery({ range: name })} />
    <button class="small" aria-pressed=${String(paused)}
      onClick=${() => setPaused(!paused)}>${paused ? "Go on" : "Pause"}</button>`;
  return html`<${Page} title="Overview" actions=${actions}>
    <${Tiles} live=${live} />
    <${Upstreams} live=${live} />
    <${LedgerNotice} />
    <${Loaded} of=${series}>${(data) => html`<${Charts} of=${data} />`}</${Loaded}>
  </${Page}>`;
}

function Tiles({ live }) {
  const of = live ?? {};
  const has = live !== null;
  const tile = (name, value, unit = "", exact = "") => html`<div class="tile" title=${exact}><dt>${name}</dt>
    <dd>${has ? value : "–"} <small>${has ? unit : ""}</small></dd></div>`;
  return html`<dl class="tiles wide">
    ${tile("Streams in flight", count(of.streams ?? of.active))}
    ${tile("Requests", rate(of.requests_s), "/ s")}
    ${tile("TTFT, median", milliseconds(of.ttft_p50_ms), `95 %: ${milliseconds(of.ttft_p95_ms)}`)}
    ${tile("Gap, 99 %", milliseconds(of.gap_p99_ms))}
    ${tile("Tokens in", rate(of.input_tokens_s), "/ s")}
    ${tile("Tokens out", rate(of.output_tokens_s), "/ s")}
    ${tile("Errors", rate(of.errors_s), "/ s")}
    ${tile("Spend today", money(of.spend_today_usd), "", has ? `$${of.spend_today_usd}` : "")}
  </dl>`;
}

function Upstreams({ live }) {
  if (!live) return null;
  return html`<div class="strip" aria-label="Upstreams" role="group">
    ${(live.upstreams ?? []).map(({ name, state }) => html`<a href=${to("/models")}>
      <span class=${`dot ${DOTS[state] ?? "warn"}`}></span>${name}<span
        class="muted">${state === "closed" ? "well" : state === "open" ? "resting" : "trying"}</span>
    </a>`)}
  </div>`;
}

function LedgerNotice() {
  const ledger = useLoad((signal) => get("/ledger", {}, signal), [], 60000);
  if (ledger.error) return html`<${Fault} of=${ledger.error} />`;
  const { ok, faults, alarm, health } = ledger.data ?? { ok: true };
  return ok && !alarm && !health ? null : html`<${Trouble} says=${[...faults, alarm, health]} />`;
}

function Charts({ of }) {
  const { t: times, series, step_s: step } = of;
  if (!times.length || !series.requests?.some((value) => value)) {
    const quiet = html`<${Empty} title="No requests in this time"
      command=${FIRST}>
      Ask something in the <a href=${to("/playground")}>playground</a>, or on a command line:</${Empty}>`;
    return html`<section class="card">${quiet}</section>`;
  }
  const iso = (at) => new Date(at * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  const pick = (at) => go(to("/requests", { since: iso(at), until: iso(at + step) }));
  const none = times.map(() => null);
  const line = (label, name, tone, fill) => [label, (series[name] ?? none).map((value) => (value === null ? null : Number(value))), tone, fill];
  return html`<div class="charts">
    <${Chart} title="Requests" times=${times} pick=${pick}
      lines=${[line("Requests", "requests", "--accent", "--accent-tint"), line("Errors", "errors", "--bad")]} />
    <${Chart} title="Time to first token, and gaps" unit="ms" times=${times} pick=${pick}
      lines=${[line("TTFT 50 %", "ttft_p50_ms", "--accent"), line("TTFT 95 %", "ttft_p95_ms", "--warn"), line("Gap 99 %", "gap_p99_ms", "--muted")]} />
    <${Chart} title="Tokens" times=${times} pick=${pick}
      lines=${[line("Out", "output_tokens", "--accent", "--accent-tint"), line("In", "input_tokens", "--good")]} />
    <${Chart} title="Spend" unit="usd" times=${times} pick=${pick}
      lines=${[line("USD", "cost_usd", "--accent", "--accent-tint")]} />
  </div>
  <p class="muted small">One point is ${step} s. Click into a chart to see the requests of that time.</p>`;
}

export function Streams() {
  const streams = useLoad((signal) => get("/streams", {}, signal), [], 1000);
  const [chosen, setChosen] = useState(null);
  const stop = async () => {
    const { stopped } = await post(`/streams/${chosen.id}/stop`, {});
    say(stopped ? "The stream is stopped." : "It had ended already.");
    streams.reload();
  };
  const columns = [
    ["Request", (row) => html`<a href=${to(`/requests/${row.id}`)} title=${row.id}><code>…${row.id.slice(-8)}</code></a>`],
    ["User", (row) => html`${row.user}<span class="sub"><code>${row.key}</code></span>`, "free"],
    ["Model", (row) => html`${row.model}<span class="sub">${row.upstream}</span>`, "free"],
    ["State", (row) => html`<${Badge} of=${row.state} tone="info" />`],
    ["Age", (row) => seconds(row.age_s), "num"],
    ["Tokens", (row) => html`<${Count} of=${row.output_tokens} />`, "num"],
    ["Tokens / s", (row) => rate(row.tokens_per_s), "num"],
    ["Leased", (row) => html`<${Count} of=${row.leased_output} />`, "num"],
    ["Reserved", (row) => html`<${Count} of=${row.reserved_output} />`, "num"],
    ["", (row) => html`<button class="small danger" onClick=${() => setChosen(row)}>Stop</button>`, "acts"],
  ];
  return html`<${Page} title="Streams"
    lead="What is being answered right now. Reserved is what a stream may come to at most; leased is what the ledger already knows of it.">
    <${Loaded} of=${streams}>${(data) => rowsOf(data).length
      ? html`<${Table} caption="Streams in flight" columns=${columns} rows=${rowsOf(data)} />`
      : html`<section class="card"><${Empty} title="Nothing is in flight">Start one in the <a
        href=${to("/playground")}>playground</a>; it stands here while it streams.</${Empty}></section>`}</${Loaded}>
    ${chosen && html`<${Confirm} title="Stop this stream?" action="Stop it" act=${stop} close=${() => setChosen(null)}>
      <p><code>${chosen.id}</code> of <strong class="break">${chosen.user}</strong>, ${chosen.model}.</p>
      <p>Its client gets an error event and the end of the stream. What has been read so far is charged.</p></${Confirm}>`}
  </${Page}>`;
}

let library = null;

function uPlot() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/console/vendor/uplot-1.6.32/uplot.js";
    script.onload = () => resolve(globalThis.uPlot);
    script.onerror = () => reject(new Error("The chart library could not be loaded."));
    document.head.append(script);
  });
  return library;
}

const TEXT = { count, ms: milliseconds, usd: (value) => money(value) };

/** A colour of the theme as the canvas needs it. */
function colour(element, name) {
  const probe = element.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** A tick's time in the viewer's zone; the day where it changes, or where ticks are days apart. */
function clock(at, before) {
  const [date, last] = [new Date(at * 1000), new Date((before ?? at) * 1000)];
  const sameDay = before === undefined ? at % 86400 : date.toDateString() === last.toDateString();
  if (sameDay) return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return date.toLocaleDateString(undefined, { month: "short", day: "numeric" });
}

function optionsOf(element, lines, unit, choose) {
  const text = TEXT[unit];
  const shown = (value) => (value === null || value === undefined ? "–" : text(value));
  const grid = { stroke: colour(element, "--line"), width: 1 };
  const axis = { stroke: colour(element, "--muted"), grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const tick = (value) => (value === null ? "" : text(Number(value.toPrecision(6))));
  return {
    width: element.clientWidth || 320, height: 190,
    scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    legend: { live: true },
    axes: [
      { ...axis, size: 30, values: (_, times) => times.map((at, index) => clock(at, times[index - 1])) },
      { ...axis, size: 62, values: (_, values) => values.map(tick) },
    ],
    series: [
      { label: "Time", value: (_, at) => (at === null || at === undefined ? "latest" : moment(at * 1000, true)) },
      ...lines.map(([label, , tone, fill]) => ({
        label, stroke: colour(element, tone), width: 1.6, points: { show: false },
        value: (plot, value, index, at) => shown(at === null || at === undefined ? plot.data[index].at(-1) : value),
        fill: fill ? colour(element, fill) : undefined, spanGaps: false,
      })),
    ],
    hooks: { ready: [(plot) => plot.over.addEventListener("click", () => choose(plot.cursor.idx))] },
  };
}

/** `lines`: [label, values, colour, fill?][]; `times`: unix seconds; `pick(at)` is told the second that was chosen. */
function Chart({ title, times, lines, unit = "count", pick }) {
  const place = useRef(null);
  const plot = useRef(null);
  const picked = useRef(null);
  picked.current = (index) => index !== null && index !== undefined && pick(plot.current.data[0][index]);
  const data = [times, ...lines.map(([, values]) => values)];
  const shape = lines.map(([label]) => label).join();

  useEffect(() => {
    let gone = false;
    const build = async () => {
      const Plot = await uPlot();
      if (gone || !place.current) return;
      plot.current?.destroy();
      plot.current = new Plot(optionsOf(place.current, lines, unit, (index) => picked.current(index)), data, place.current);
    };
    build();
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: place.current.clientWidth, height: 190 }));
    observer.observe(place.current);
    addEventListener("themechange", build);
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", build);
    return () => {
      gone = true;
      observer.disconnect();
      removeEventListener("themechange", build);
      system.removeEventListener("change", build);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, unit]);
  useEffect(() => { plot.current?.setData(data); });

  const walk = (event) => {
    const chart = plot.current;
    if (!chart || !["ArrowLeft", "ArrowRight", "Enter"].includes(event.key)) return;
    event.preventDefault();
    const index = chart.cursor.idx ?? times.length - 1;
    if (event.key === "Enter") return void picked.current(index);
    const next = Math.min(times.length - 1, Math.max(0, index + (event.key === "ArrowLeft" ? -1 : 1)));
    chart.setCursor({ left: chart.valToPos(times[next], "x"), top: 20 });
  };
  return html`<section class="card chart"><h2>${title}</h2>
    <div class="plot" ref=${place} tabindex="0" role="img" onKeyDown=${walk}
      aria-label=${`${title}, ${times.length} points. Arrow keys move along, Enter shows the requests of that time.`}></div>
  </section>`;
}
