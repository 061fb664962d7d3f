// Parts that every page is made of: amounts, times, badges, notices, tables, bars, the waterfall, dialogs and forms.
import { go, html, place, setQuery, store, to, useEffect, useRef, useState, useStore } from "./core.js";
import { brief, count, milliseconds, moment, money, seconds, untilReset, utc } from "./format.js";
import { keepKey, reference } from "./server.js";

const shown = store([]);
let next = 0;

export function say(text) {
  const id = ++next;
  shown.set([...shown.get().slice(-2), { id, text }]);
  setTimeout(() => shown.set(shown.get().filter((toast) => toast.id !== id)), 6000);
}

export function Toasts() {
  const toasts = useStore(shown);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.map((toast) => html`<div class="toast" key=${toast.id}>${toast.text}</div>`)}
  </div>`;
}

export const Money = ({ of }) => html`<span class="nowrap" title=${of == null ? "" : `$${of}`}>${money(of)}</span>`;
export const Count = ({ of }) => html`<span class="nowrap">${count(of)}</span>`;
export const Brief = ({ of }) => html`<span class="nowrap"
  title=${of == null ? "" : count(of)}>${of == null ? "–" : brief(of)}</span>`;
export const Ms = ({ of }) => html`<span class="nowrap" title=${of == null ? "" : `${of} ms`}>${milliseconds(of)}</span>`;

export function Time({ at, long }) {
  if (!at) return html`<span class="dim">–</span>`;
  return html`<time class="nowrap" datetime=${at} title=${utc(at)}>${moment(at, long)}</time>`;
}

const TONES = {
  active: "good", closed: "good", ok: "good", finished: "good", settled: "good", admin: "info", streaming: "info", open: "info",
  disabled: "bad", revoked: "bad", error: "bad", recovered: "warn", half_open: "warn", invited: "warn", released: "",
  client_left: "warn", estimated: "warn", local: "warn",
};

/** A state as a small label. `tone` where the word alone does not say how good it is. */
export const Badge = ({ of, tone }) => html`<span
  class=${`badge ${tone ?? TONES[of] ?? ""}`}>${String(of ?? "–").replaceAll("_", " ")}</span>`;

/** How a request ended: fine, the client's leaving, or a failure. */
export function End({ of, state }) {
  if (state === "open") return html`<${Badge} of="in flight" tone="info" />`;
  const tone = of === "finished" ? "good" : of === "client_left" ? "warn" : of ? "bad" : "";
  return html`<${Badge} of=${of ?? state} tone=${tone} />`;
}

export function Page({ title, crumbs, actions, lead, children }) {
  useEffect(() => { document.title = `${title} · streamrouter`; }, [title]);
  return html`
    ${crumbs && html`<nav class="crumbs" aria-label="Where this is">${crumbs}</nav>`}
    <div class="head"><h1 tabindex="-1">${title}</h1>${actions && html`<div class="actions">${actions}</div>`}</div>
    ${lead && html`<p class="lead">${lead}</p>`}
    ${children}`;
}

export function Fault({ of, retry }) {
  if (!of) return null;
  return html`<div class="notice bad" role="alert">
    ${of.message}${of.requestId && html` <small class="dim">(${of.requestId})</small>`}
    ${of.retryAfter ? html` <strong>Try again in ${of.retryAfter} s.</strong>` : null}
    ${retry && html` <button class="small" onClick=${retry}>Try again</button>`}
  </div>`;
}

/** A load's three faces: waiting, failed, there. `children` is a function of the data. */
export function Loaded({ of, children }) {
  if (of.error && !of.data) return html`<${Fault} of=${of.error} retry=${of.reload} />`;
  if (!of.data) return html`<p class="muted spin" role="status">Loading …</p>`;
  return html`<${Fault} of=${of.error} />${children(of.data)}`;
}

export const Empty = ({ title, children, command }) => html`<div class="empty">
  <strong>${title}</strong>${children && html`<span>${children}</span>`}${command && html`<${Snippet} text=${command} />`}
</div>`;

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyOldStyle(text); // no clipboard without https
  }
  say("Copied.");
}

function copyOldStyle(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export const Snippet = ({ text, label = "Copy" }) => html`<div class="snippet">
  <pre tabindex="0" class=${text.trim().includes("\n") ? "" : "wrap"}>${text}</pre>
    <button class="small" onClick=${() => copy(text)}>${label}</button>
</div>`;

export const Secret = ({ text }) => html`<div class="secret">
  <code data-secret>${text}</code><button class="primary" onClick=${() => copy(text)}>Copy</button>
</div>`;

export const Facts = ({ rows }) => html`<dl class="facts">
  ${rows.filter(Boolean).map(([name, value]) => html`<dt>${name}</dt><dd>${value ?? "–"}</dd>`)}
</dl>`;

/** Buttons of which one is pressed. */
export const Tabs = ({ options, value, choose, label }) => html`<div class="tabs" role="group" aria-label=${label}>
  ${options.map(([name, text]) => html`<button class="small" aria-pressed=${String(name === value)}
    onClick=${() => choose(name)}>${text}</button>`)}
</div>`;

const THEMES = [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]];

export function Theme() {
  const [chosen, setChosen] = useState(document.documentElement.dataset.theme ?? "auto");
  const choose = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    try {
      localStorage.setItem("streamrouter-theme", name);
    } catch {
      // storage is switched off: the choice lasts as long as the page
    }
    setChosen(name);
    dispatchEvent(new Event("themechange"));
  };
  return html`<div class="switch" role="group" aria-label="Theme">
    ${THEMES.map(([name, text]) => html`<button aria-pressed=${String(chosen === name)}
      onClick=${() => choose(name)}>${text}</button>`)}
  </div>`;
}

/** `columns`: [label, cell(row), "num" | "free" (what people named) | "acts" | undefined][]. */
export function Table({ columns, rows, caption, keyOf = (row) => row.id }) {
  return html`<div class="table"><table>
    <caption class="unseen">${caption}</caption>
    <thead><tr>${columns.map(([label, , kind]) => html`<th scope="col" class=${kind}>${kind === "acts" ? html`<span
      class="unseen">Actions</span>` : label}</th>`)}</tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${keyOf(row)}>${columns.map(([label, cell, kind]) => kind === "acts"
      ? html`<td class="acts"><div>${cell(row)}</div></td>`
      : html`<td class=${kind} data-label=${label}><div>${cell(row) ?? "–"}</div></td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** Newer and older: the cursor stands in the address, so the back button works. */
export function Pager({ next }) {
  const { query } = place.get();
  if (!next && !query.cursor) return null;
  return html`<div class="pager">
    ${query.cursor ? html`<button onClick=${() => setQuery({ ...query, cursor: "" })}>Newest</button>` : html`<span></span>`}
    ${next && html`<button onClick=${() => setQuery({ ...query, cursor: next })}>Older</button>`}
  </div>`;
}

/** `of`: {used, reserved, cap} as the usage verb gives it. */
export function CapBar({ of, label, resets = false }) {
  const [used, reserved, cap] = [Number(of?.used ?? 0), Number(of?.reserved ?? 0), of?.cap ?? null];
  const exact = `${count(used)} used, ${count(reserved)} reserved, ${cap === null ? "no cap" : `cap ${count(cap)}`}`;
  if (cap === null) {
    return html`<div class="bar" title=${exact}><div class="says"><span>
      <b>${brief(used)}</b>${reserved ? ` + ${brief(reserved)} reserved` : ""}</span><span>no cap</span></div></div>`;
  }
  const share = (value) => (Number(cap) ? Math.min(100, (100 * value) / Number(cap)) : 100);
  const full = used + reserved >= Number(cap);
  return html`<div class=${`bar ${full ? "full" : ""}`} title=${exact}>
    <div class="track" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${cap}
      aria-valuenow=${Math.min(used + reserved, Number(cap))} aria-valuetext=${exact}>
      <div class="used" style=${{ width: `${share(used)}%` }}></div>
      <div class="reserved" style=${{ width: `${Math.min(100 - share(used), share(reserved))}%` }}></div>
    </div>
    <div class="says">
      <span><b>${brief(used)}</b>${reserved ? ` + ${brief(reserved)} reserved` : ""} of ${brief(cap)}</span>
      ${resets && html`<span>resets in ${seconds(untilReset())}</span>`}
    </div>
  </div>`;
}

const LOOK = { admit: "admit", upstream: "wait", "first token": "wait", stream: "flow", settle: "settle" };
const [LEFT, ROW] = [92, 26];

/** `phases`: [{name, start_ms, end_ms}]; `failed`: the last phase ended badly. */
export function Waterfall({ phases, failed }) {
  const width = innerWidth < 700 ? 330 : 820;
  const whole = Math.max(1, ...phases.map((phase) => phase.end_ms));
  const x = (ms) => LEFT + ((width - LEFT - 76) * ms) / whole;
  const height = phases.length * ROW + 22;
  const says = phases.map((phase) => `${phase.name}: ${milliseconds(phase.start_ms)} to ${milliseconds(phase.end_ms)}`).join("; ");
  return html`<svg class="waterfall" viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${`Waterfall. ${says}`}>
    ${[0, 0.25, 0.5, 0.75, 1].map((part) => html`<g>
      <line x1=${x(whole * part)} x2=${x(whole * part)} y1="0" y2=${height - 18} />
      <text class="tick" x=${x(whole * part)} y=${height - 4} text-anchor="middle">${milliseconds(whole * part)}</text>
    </g>`)}
    ${phases.map((phase, row) => {
      const start = x(phase.start_ms);
      const end = Math.max(x(phase.end_ms), start + 2);
      const look = failed && row === phases.length - 1 ? "failed" : (LOOK[phase.name] ?? "wait");
      return html`<g>
        <text x="0" y=${row * ROW + 17}>${phase.name}</text>
        <rect class=${look} x=${start} y=${row * ROW + 5} width=${end - start} height="16" rx="3">
          <title>${phase.name}: ${phase.start_ms} to ${phase.end_ms} ms</title></rect>
        <text class="tick" x=${end + 6} y=${row * ROW + 17}>${milliseconds(phase.end_ms - phase.start_ms)}</text>
      </g>`;
    })}
  </svg>`;
}

export function Dialog({ title, close, children }) {
  const element = useRef(null);
  useEffect(() => {
    const dialog = element.current;
    dialog.showModal();
    dialog.querySelector("form :is(input, select, textarea)")?.focus();
    return () => dialog.close(); // gives the focus back
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  return html`<dialog ref=${element} onCancel=${cancel} aria-labelledby="dialog-title">
    <div class="head"><h2 id="dialog-title">${title}</h2>
      <button class="plain small" aria-label="Close" onClick=${close}>✕</button></div>
    ${children}
  </dialog>`;
}

/** Fields and a button. `submit(values, ref)` may throw; its words are shown, and the field it names gets the focus. */
export function Form({ submit, action, cancel, danger, children, extra }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const ref = useRef(null);
  const send = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    setBusy(true);
    setError(null);
    ref.current ??= reference();
    try {
      await submit(Object.fromEntries(new FormData(form)), ref.current, form);
      ref.current = null;
    } catch (failure) {
      if (failure.status) ref.current = null; // an answer came: the next try is another request
      setError(failure);
      const field = failure.param && form.elements.namedItem(failure.param);
      field?.focus?.();
    }
    setBusy(false);
  };
  return html`<form class="stack" onSubmit=${send}>
    ${children}
    <${Fault} of=${error} />
    <div class="ends">${extra}
      ${cancel && html`<button type="button" onClick=${cancel}>Cancel</button>`}
      <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${busy ? "Working …" : action}</button>
    </div>
  </form>`;
}

export const Field = ({ label, hint, children, ...input }) => html`<label>
  <span>${label}</span>${children ?? html`<input ...${input} />`}${hint && html`<span class="hint">${hint}</span>`}
</label>`;

export const Confirm = ({ title, children, action, act, close }) => html`<${Dialog} title=${title} close=${close}>
  <${Form} submit=${async () => { await act(); close(); }} action=${action} danger cancel=${close}>
    <div class="stack tight">${children}</div></${Form}>
</${Dialog}>`;

/** A new key, shown this once. */
export function NewKey({ made, close }) {
  const play = () => {
    keepKey(made.key, made.surface);
    go(to("/playground"));
  };
  return html`<${Dialog} title="The new key" close=${close}>
    <div class="stack">
      ${made.key
        ? html`<p>Copy it now: only its hash is stored, and it is not shown again.</p><${Secret} text=${made.key} />`
        : html`<p class="notice warn">This key was made by an earlier try of the same request, and its secret was shown then.
          If it is lost, rotate the key.</p>`}
      ${(made.warnings ?? []).map((warning) => html`<p class="notice warn">${warning}</p>`)}
      <div class="ends">
        ${made.key && html`<button onClick=${play}>Try it in the playground</button>`}
        <button class="primary" onClick=${close}>Done</button>
      </div>
    </div>
  </${Dialog}>`;
}

/** A one-time link for a person. */
export const NewLink = ({ title, link, expires, close }) => html`<${Dialog} title=${title} close=${close}>
  <div class="stack">
    <p>Give this link to them. It works once${expires}, and is not shown again.</p>
    <${Secret} text=${new URL(link, location.origin).href} />
    <div class="ends"><button class="primary" onClick=${close}>Done</button></div>
  </div>
</${Dialog}>`;
