// The books: requests, one request explained, and the ledger's entries.
import { html, setQuery, to, useState } from "../core.js";
import { count, fromLocalInput, localInput, milliseconds, money } from "../format.js";
import { Badge, Brief, Count, Dialog, Empty, End, Facts, Fault, Field, Form, Loaded, Money, Ms, Page,
  Pager, say, Table, Tabs, Time, Waterfall } from "../parts.js";
import { address, get, post, rowsOf, useLoad } from "../server.js";

const NAMES = ["user", "key", "model", "upstream", "end", "source", "since", "until"];

export function Requests({ query, person }) {
  const path = person.role === "admin" ? "/requests" : "/me/requests";
  const filters = Object.fromEntries(NAMES.map((name) => [name, query[name]]));
  const asked = { ...filters, cursor: query.cursor, limit: 50 };
  const requests = useLoad((signal) => get(path, asked, signal), [JSON.stringify(asked)]);
  const filtered = NAMES.some((name) => query[name]);
  const actions = html`<button onClick=${requests.reload}>Reload</button>
    <a class="button" href=${address(path, { ...filters, format: "csv" })} download="requests.csv">CSV</a>`;
  return html`<${Page} title="Requests" actions=${actions}>
    <${Filters} query=${query} admin=${person.role === "admin"} filtered=${filtered} />
    <${Loaded} of=${requests}>${(data) => rowsOf(data).length
      ? html`<${Table} caption="Requests, newest first" columns=${columnsOf(person)} rows=${rowsOf(data)} />
        <${Pager} next=${data.next} />`
      : html`<section class="card"><${Empty} title=${filtered ? "No request is like that" : "No requests yet"}>
          ${filtered ? "Take a filter away." : html`Ask something in the <a href=${to("/playground")}>playground</a>, or see <a
            href=${to("/connect")}>Connect</a>.`}</${Empty}></section>`}</${Loaded}>
  </${Page}>`;
}

export const columnsOf = (person) => [
  ["Time", (row) => html`<a href=${to(`/requests/${row.id}`)}><${Time} at=${row.time} /></a>`],
  ...(person.role === "admin" ? [["User", (row) => html`${row.user}<span class="sub"><code>${row.key}</code>
    </span>`, "free"]] : [["Key", (row) => html`<code>${row.key}</code>`]]),
  ["Model", (row) => html`${row.model}<span class="sub">${row.upstream ? `→ ${row.upstream}` : ""}</span>`, "free"],
  ["End", (row) => html`<${End} of=${row.end} state=${row.state} />`],
  ["TTFT", (row) => html`<${Ms} of=${row.ttft_ms} />`, "num"],
  ["Duration", (row) => html`<${Ms} of=${row.duration_ms} />`, "num"],
  ["Tokens in", (row) => html`<${Brief} of=${row.input_tokens} />${row.cached_tokens ? html`<span class="sub">
    <${Brief} of=${row.cached_tokens} /> cached</span>` : ""}`, "num"],
  ["Tokens out", (row) => html`<${Brief} of=${row.output_tokens} />`, "num"],
  ["Cost", (row) => html`<${Money} of=${row.cost_usd} />${row.usage_source && row.usage_source !== "upstream" ? html`<span
    class="sub">${row.usage_source.replaceAll("_", " ")}</span>` : ""}`, "num"],
];

function Filters({ query, admin, filtered }) {
  const change = (event) => {
    const { name, value, type } = event.target;
    setQuery({ ...query, cursor: "", [name]: type === "datetime-local" ? fromLocalInput(value) : value.trim() });
  };
  const text = (label, name) => html`<${Field} label=${label} name=${name} value=${query[name] ?? ""} onChange=${change}
    type="search" autocomplete="off" spellcheck="false" />`;
  const time = (label, name) => html`<${Field} label=${label} name=${name} value=${localInput(query[name])} onChange=${change}
    type="datetime-local" step="1" />`;
  return html`<details class="fold" open=${filtered || innerWidth > 700}><summary>Filters</summary>
    <form class="filters" role="search" aria-label="Filters" onSubmit=${(event) => event.preventDefault()}>
    ${admin && text("User", "user")}${text("Key", "key")}${text("Model", "model")}${text("Upstream", "upstream")}${text("End", "end")}
    ${text("Usage source", "source")}
    ${time("Since", "since")}${time("Until", "until")}
    ${filtered && html`<button type="button" class="plain" onClick=${() => setQuery({})}>Take all away</button>`}
  </form></details>`;
}

export function Request({ id, person }) {
  const mine = person.role === "admin" ? "" : "/me";
  const request = useLoad((signal) => get(`${mine}/requests/${id}`, {}, signal), [id]);
  return html`<${Page} title="Request" crumbs=${html`<a href=${to("/requests")}>Requests</a> / ${id}`}
    actions=${html`<button onClick=${request.reload}>Reload</button>`}>
    <${Loaded} of=${request}>${(of) => html`
      <div class="columns">
        <section class="card"><h2>What it was</h2><${Facts} rows=${factsOf(of, person)} /></section>
        <section class="card"><h2>Hold and settlement</h2><${Settlement} of=${of} /></section>
      </div>
      ${of.phases?.length > 0 && html`<section class="card"><h2>Where the time went</h2>
        <${Waterfall} phases=${of.phases} failed=${of.end && of.end !== "finished" && of.end !== "client_left"} /></section>`}
      ${of.attempts?.length > 0 && html`<section class="card"><h2>Attempts</h2><${Attempts} of=${of.attempts} />
        </section>`}`}</${Loaded}>
  </${Page}>`;
}

const factsOf = (of, person) => [
  ["Id", html`<code>${of.id}</code>`],
  ["Began", html`<${Time} at=${of.created} long />`],
  ["Ended", of.closed ? html`<${Time} at=${of.closed} long />` : html`<${Badge} of="in flight" tone="info" />`],
  ["End", html`<${End} of=${of.end} state=${of.state} />`],
  person.role === "admin" && ["User", html`<a href=${to("/requests", { user: of.user })}>${of.user}</a>`],
  ["Key", html`<code>${of.key}</code>`],
  ["Surface", of.surface],
  ["Model", of.model],
  ["Upstream", of.upstream || "none"],
  of.ttft_ms != null && ["TTFT", milliseconds(of.ttft_ms)],
  of.duration_ms != null && ["Duration", milliseconds(of.duration_ms)],
  of.gap_p99_ms != null && ["Gap, 99 %", milliseconds(of.gap_p99_ms)],
  ["Usage source", (of.usage_source ?? "not known yet").replaceAll("_", " ")],
  ["State in the ledger", html`<${Badge} of=${of.state} />`],
];

/** The hold beside the settlement, and the sum that leads to the cost. */
export function Settlement({ of, explained = false }) {
  const open = of.state === "open";
  const price = of.price_usd_per_million;
  const charged = of.charged;
  const line = (name, held, settled) => html`<span>${name}</span><span class="num">${held}</span>
    <span class="num">${open ? "…" : settled}</span>`;
  return html`<div class="stack">
    <div class="meterpair">
      <span class="h"></span><span class="h num">held</span><span class="h num">charged</span>
      ${line("Input tokens", count(of.held.input), count(charged.input))}
      ${line("Output tokens", count(of.held.output), count(charged.output))}
      ${line("Amount", Number(of.held.usd) ? html`<${Money} of=${of.held.usd} />` : "–", html`<${Money} of=${of.cost_usd} />`)}
    </div>
    ${!open && html`<details open=${explained}><summary>Explain this charge</summary><div class="stack tight">
      <p><${Count} of=${Number(charged.input) - Number(charged.cached)} /> input tokens × $${price.input} + <${Count}
        of=${charged.cached} /> cached × $${price.cache_read}
        + <${Count} of=${charged.output} /> output × $${price.output}, per million${charged.reasoning ? html` (<${Count}
          of=${charged.reasoning} /> of the output is reasoning)` : ""}.</p>
      <p>Exactly ${count(of.pico_usd)} pico-USD, rounded up by ${count(of.rounded_up_by_pico_usd)}: <strong>$${of.cost_usd}</strong>.
        ${of.billing === "prepaid" ? html` $${of.spent_usd} was taken from the balance.`
          : " Billing by tokens: the cost is recorded, no balance is touched."}</p>
      <p>Output was leased in steps: ${of.lease_steps.map((step) => count(step)).join(", ")}.
        ${Number(of.over.input) || Number(of.over.output)
          ? ` Above the reservation, at the operator's cost: ${count(of.over.input)} in, ${count(of.over.output)} out.` : ""}</p>
      <p class="muted">The same on a command line: <code>streamrouter ledger explain ${of.id}</code></p>
    </div></details>`}
  </div>`;
}

const Attempts = ({ of }) => html`<${Table} caption="Attempts" rows=${of} columns=${[
  ["Upstream", (row) => row.upstream],
  ["Outcome", (row) => html`<${Badge} of=${row.outcome} tone=${row.outcome === "ok" ? "good" : "bad"} />`],
]} />`;

export function Ledger({ query }) {
  const users = useLoad((signal) => get("/users", {}, signal), []);
  const checked = useLoad((signal) => get("/ledger", {}, signal), [], 60000);
  const view = query.view === "requests" ? "requests" : "entries";
  const [booking, setBooking] = useState("");
  const [booked, setBooked] = useState(0);
  const known = rowsOf(users.data);
  const user = known.find((row) => row.id === query.user || row.user === query.user);
  const choose = (event) => setQuery({ view: query.view, user: event.target.value });
  return html`<${Page} title="Ledger" actions=${html`
      <button class="primary" disabled=${!known.length} onClick=${() => setBooking("topups")}>Top up</button>
      <button disabled=${!known.length} onClick=${() => setBooking("refunds")}>Refund</button>`}>
    <${LedgerState} of=${checked} />
    <div class="head">
      <${Tabs} label="What is shown" options=${[["entries", "Entries"], ["requests", "Hold → settle"]]} value=${view}
        choose=${(name) => setQuery({ user: query.user, view: name === "entries" ? "" : name })} />
      <label class="inline"><span>User</span><select value=${user?.id ?? ""} onChange=${choose}>
        <option value="">everybody</option>${known.map((row) => html`<option value=${row.id}
          selected=${row.id === user?.id}>${row.user}</option>`)}</select></label>
    </div>
    ${users.data && (view === "entries" ? html`<${Entries} user=${user} query=${query} stamp=${booked} />` : html`<${Pairs}
      user=${user} query=${query} />`)}
    ${booking && html`<${Book} what=${booking} users=${known} user=${user} close=${() => setBooking("")}
      done=${() => { setBooking(""); users.reload(); setBooked(booked + 1); }} />`}
  </${Page}>`;
}

function LedgerState({ of }) {
  if (of.error) return html`<${Fault} of=${of.error} retry=${of.reload} />`;
  if (!of.data) return null;
  const { ok, faults, invariants, checked, alarm, health, day } = of.data;
  if (!ok || alarm || health) return html`<${Trouble} says=${[...faults, alarm, health]} />`;
  return html`<p class="muted"><${Badge} of="the books add up" tone="good" /> ${invariants} checks, <${Time}
    at=${checked} />. The ledger's day is ${day}.</p>`;
}

/** What is wrong with the books, and what to do next. */
export const Trouble = ({ says }) => html`<div class="notice bad" role="alert"><strong>The books need you.</strong>
  ${says.filter(Boolean).map((line) => html` <span>${line}</span>`)} Next: <code>streamrouter ledger check</code></div>`;

const KINDS = { payment: "good", fee: "", refund: "warn", adjustment: "info", usage: "" };

function Entries({ user, query, stamp }) {
  const path = user ? `/users/${user.id}/entries` : "/entries";
  const entries = useLoad((signal) => get(path, { cursor: query.cursor, limit: 50 }, signal), [path, query.cursor, stamp]);
  const columns = [
    ["Time", (row) => (row.time ? html`<${Time} at=${row.time} long />` : row.day)],
    ["User", (row) => html`<a href=${to("/ledger", { user: row.user })}>${row.user ?? user?.user}</a>`, "free"],
    ["Kind", (row) => html`<${Badge} of=${row.kind} tone=${KINDS[row.kind] ?? ""} />`],
    ["Reference", (row) => html`<span class="break">${row.ref || ""}</span>`, "free"],
    ["Amount", (row) => html`<${Money} of=${row.amount_usd} />`, "num"],
    ...(user ? [["Balance", (row) => html`<${Money} of=${row.balance_usd} />`, "num"]] : []),
  ];
  return html`<${Loaded} of=${entries}>${(data) => rowsOf(data).length
    ? html`<${Table} caption="Entries, newest first" columns=${columns} rows=${rowsOf(data)}
      keyOf=${(row) => row.id ?? `${row.day} ${row.kind}`} /><${Pager} next=${data.next} />
        <p><a class="button" href=${address(path, { format: "csv" })} download="entries.csv">CSV</a></p>`
    : html`<section class="card"><${Empty} title="No entries"
      command=${`streamrouter topup ${user?.user ?? "team-a"} 25`}>Payments, fees, refunds and adjustments stand here,
      for good. Top up here, or:</${Empty}></section>`}</${Loaded}>`;
}

function Pairs({ user, query }) {
  const [open, setOpen] = useState(null);
  const asked = { user: user?.user, cursor: query.cursor, limit: 50 };
  const requests = useLoad((signal) => get("/requests", asked, signal), [JSON.stringify(asked)]);
  const columns = [
    ["Time", (row) => html`<${Time} at=${row.time} />`],
    ["Request", (row) => html`<a href=${to(`/requests/${row.id}`)}><code>${row.id}</code></a>
      <span class="sub">${row.user}</span>`, "free"],
    ["Hold", (row) => html`<${Badge} of=${row.state} />`],
    ["End", (row) => html`<${End} of=${row.end} state=${row.state} />`],
    ["Held", (row) => html`${count(row.held_input)} + ${count(row.held_output)}${Number(row.held_usd) ? html`<span class="sub">
      <${Money} of=${row.held_usd} /></span>` : ""}`, "num"],
    ["Charged", (row) => (row.state === "open" ? "…" : html`${count(row.input_tokens)} + ${count(row.output_tokens)}<span
      class="sub"><${Money} of=${row.cost_usd} /></span>`), "num"],
    ["From the balance", (row) => html`<${Money} of=${row.spent_usd} />`, "num"],
    ["", (row) => html`<button class="small" onClick=${() => setOpen(row.id)}>Explain</button>`, "acts"],
  ];
  return html`<${Loaded} of=${requests}>${(data) => rowsOf(data).length
      ? html`<${Table} caption="Holds and settlements" columns=${columns} rows=${rowsOf(data)} /><${Pager} next=${data.next} />`
      : html`<section class="card"><${Empty}
        title="No requests yet">Each request is held before its first byte and settled after its last one.</${Empty}>
        </section>`}</${Loaded}>
    ${open && html`<${Explain} id=${open} close=${() => setOpen(null)} />`}`;
}

function Explain({ id, close }) {
  const request = useLoad((signal) => get(`/requests/${id}`, {}, signal), [id]);
  return html`<${Dialog} title="This charge" close=${close}><div class="stack">
    <p class="break"><code>${id}</code></p>
    <${Loaded} of=${request}>${(of) => html`<${Settlement} of=${of} explained />`}</${Loaded}>
    <div class="ends"><button class="primary" onClick=${close}>Done</button></div>
  </div></${Dialog}>`;
}

function Book({ what, users, user, close, done }) {
  const topup = what === "topups";
  const submit = async ({ account, amount }, ref) => {
    const booked = await post(`/users/${account}/${what}`, { amount }, { ref });
    say(`${topup ? `${money(booked.credited_usd)} credited. ` : ""}The balance is ${money(booked.balance_usd)}.`);
    done();
  };
  return html`<${Dialog} title=${topup ? "Top up" : "Refund"} close=${close}>
    <${Form} submit=${submit} action=${topup ? "Top up" : "Refund"} cancel=${close}>
    <${Field} label="User"><select name="account" value=${user?.id}>${users.map((row) => html`<option value=${row.id}
      selected=${row.id === user?.id}>${row.user} (${money(row.balance_usd)})</option>`)}</select></${Field}>
    <${Field} label="Amount in USD" name="amount" inputmode="decimal" required pattern="[0-9]+([.][0-9]+)?" placeholder="25.00"
      autocomplete="off"
      hint=${topup ? "A fee, where the surface has one, is an entry of its own." : "Paid back to them: it lowers the balance."} />
  </${Form}></${Dialog}>`;
}
