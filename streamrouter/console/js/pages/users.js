// Users with their caps, money and keys; and a member's own page.
import { go, html, place, setQuery, to, useState } from "../core.js";
import { count } from "../format.js";
import { CapFields, CAPS, capsFrom, Keys, useSurfaces } from "../keys.js";
import { Badge, Brief, CapBar, Confirm, Dialog, Empty, Facts, Field, Form, Loaded, Money, Page, say, Table, Tabs, Time } from "../parts.js";
import { address, get, patch, post, rowsOf, useLoad } from "../server.js";

export function Users({ query }) {
  const users = useLoad((signal) => get("/users", {}, signal), []);
  const [open, setOpen] = useState(query.new === "1");
  const close = () => {
    setOpen(false);
    if (place.get().query.new) setQuery({});
  };
  const columns = [
    ["User", (row) => html`<a href=${to(`/users/${row.id}`)}>${row.user}</a>`, "free"],
    ["Status", (row) => html`<${Badge} of=${row.status} />`],
    ["Input today", (row) => html`<${CapBar} of=${row.usage?.input} label=${`Input of ${row.user} today`} />`],
    ["Output today", (row) => html`<${CapBar} of=${row.usage?.output} label=${`Output of ${row.user} today`} />`],
    ["Balance", (row) => (row.unlimited ? html`<span class="dim">none needed</span>` : html`<${Money}
      of=${row.balance_usd} />`), "num"],
    ["Keys", (row) => row.keys, "num"],
    ["In flight", (row) => row.usage?.in_flight ?? "–", "num"],
  ];
  return html`<${Page} title="Users & keys" actions=${html`<button class="primary"
    onClick=${() => setOpen(true)}>New user</button>`}>
    <${Loaded} of=${users}>${(data) => rowsOf(data).length
      ? html`<${Table} caption="Users" columns=${columns} rows=${rowsOf(data)} />`
      : html`<section class="card"><${Empty} title="No users"
        command="streamrouter user create team-a">A user has caps, a balance and keys. Make one here, or:</${Empty}>
        </section>`}</${Loaded}>
    ${open && html`<${NewUser} close=${close} />`}
  </${Page}>`;
}

function NewUser({ close }) {
  const submit = async (values, ref, form) => {
    const made = await post("/users", { user: values.user, ...capsFrom(values, form, null) }, { ref });
    go(to(`/users/${made.id}`));
  };
  return html`<${Dialog} title="New user" close=${close}><${Form} submit=${submit} action="Make the user" cancel=${close}>
    <${Field} label="Name" name="user" required maxlength="256" autocomplete="off"
      hint="A person, a team, a project: whoever the keys and the bill belong to." />
    <details><summary>Caps</summary><div class="stack"><${CapFields} /></div></details>
  </${Form}></${Dialog}>`;
}

export function User({ id, person }) {
  const user = useLoad((signal) => get(`/users/${id}`, {}, signal), [id], 5000);
  const keys = useLoad((signal) => get(`/users/${id}/keys`, {}, signal), [id]);
  const surfaces = useSurfaces(person);
  const [open, setOpen] = useState("");
  const close = () => setOpen("");
  const turn = async (what) => {
    await post(`/users/${id}/${what}`, {});
    say(what === "disable" ? "The user is disabled: their keys are refused." : "The user is enabled.");
    user.reload();
  };
  return html`<${Page} title=${user.data?.user ?? "User"} crumbs=${html`<a href=${to("/users")}>Users & keys</a>`}
    actions=${user.data && html`
      <a class="button" href=${to("/requests", { user: user.data.user })}>Requests</a>
      <a class="button" href=${to("/ledger", { user: id })}>Ledger</a>
      <button onClick=${() => setOpen("caps")}>Caps</button>
      ${user.data.status === "active" ? html`<button class="danger"
        onClick=${() => setOpen("disable")}>Disable</button>` : html`<button
        onClick=${() => turn("enable")}>Enable</button>`}`}>
    <${Loaded} of=${user}>${(of) => html`
      <${Today} of=${of} />
      <${Loaded} of=${keys}>${(data) => html`<${Keys} keys=${rowsOf(data)} base="" user=${of.user} admin reload=${keys.reload}
        surfaces=${surfaces.data?.surfaces ?? []} />`}</${Loaded}>
      <${Usage} path="/usage" query=${{ user: of.user }} />
      ${open === "caps" && html`<${Caps} of=${of} close=${close} done=${() => { close(); user.reload(); }} />`}
      ${open === "disable" && html`<${Confirm} title=${`Disable ${of.user}?`} action="Disable" act=${() => turn("disable")}
        close=${close}>
        <p>Every key of this user is refused until it is enabled again. Nothing is deleted.</p></${Confirm}>`}`}</${Loaded}>
  </${Page}>`;
}

/** What is used today, and the account's money and limits; also a member's own page. */
export function Today({ of, usage = of.usage }) {
  const caps = CAPS.filter(([name]) => !name.startsWith("daily")).map(([name, label]) => [label, of[name] == null ? html`<span
    class="dim">no cap</span>` : count(of[name])]);
  return html`<div class="columns">
    <section class="card stack"><h2>Today</h2>
      <div><h3>Input tokens</h3><${CapBar} of=${usage.input} label="Input tokens today" resets /></div>
      <div><h3>Output tokens</h3><${CapBar} of=${usage.output} label="Output tokens today" resets /></div>
      <p class="muted">${usage.in_flight} in flight.</p>
    </section>
    <section class="card"><h2>Money</h2><${Facts} rows=${[
      ["Balance", of.unlimited ? html`<${Money} of=${of.balance_usd} /> <span
        class="dim">(none is needed)</span>` : html`<strong><${Money} of=${of.balance_usd} /></strong>`],
      ["Reserved", html`<${Money} of=${of.reserved_usd} />`],
      ["Spent", html`<${Money} of=${of.spent_usd} />`],
    ]} /></section>
    <section class="card"><h2>Limits</h2><${Facts} rows=${[
      ["Status", html`<${Badge} of=${of.status} />`], ...caps,
      ["Models", of.models ? of.models.join(", ") || "none" : html`<span class="dim">every model</span>`],
      ["Since", html`<${Time} at=${of.created} long />`],
    ]} /></section>
  </div>`;
}

const BY = [["day", "Day"], ["model", "Model"], ["key", "Key"]];

/** A week's usage, summed up. `path`, `query`: one user's, or one's own. */
function Usage({ path, query = {} }) {
  const [by, setBy] = useState("day");
  const usage = useLoad((signal) => get(path, { ...query, by }, signal), [path, by]);
  const columns = [
    [BY.find(([name]) => name === by)[1], (row) => row[by], "free"], ["Requests", (row) => count(row.requests), "num"],
    ["Input", (row) => html`<${Brief} of=${row.input} />`, "num"],
    ["Output", (row) => html`<${Brief} of=${row.output} />`, "num"], ["Cost", (row) => html`<${Money}
      of=${row.cost_usd} />`, "num"],
  ];
  return html`<section class="card">
    <div class="head"><h2>Last seven days</h2><${Tabs} label="By" options=${BY} value=${by} choose=${setBy} />
      <div class="actions"><a class="button small" href=${address(path, { ...query, by, format: "csv" })}
        download="usage.csv">CSV</a></div></div>
    <${Loaded} of=${usage}>${(data) => (rowsOf(data).length ? html`<${Table} caption="Usage" columns=${columns}
      rows=${rowsOf(data)} keyOf=${(row) => row[by]} />` : html`<p class="muted">Nothing was used.</p>`)}</${Loaded}>
  </section>`;
}

function Caps({ of, close, done }) {
  const submit = async (values, ref, form) => {
    await patch(`/users/${of.id}`, capsFrom(values, form, of));
    say("The caps are set.");
    done();
  };
  return html`<${Dialog} title=${`Caps of ${of.user}`} close=${close}><${Form} submit=${submit} action="Save" cancel=${close}>
    <${CapFields} of=${of} /></${Form}></${Dialog}>`;
}

export function Me({ person }) {
  const me = useLoad((signal) => get("/me", {}, signal), [], 5000);
  if (me.error?.status === 404 || (me.data && !me.data.account)) {
    return html`<${Page} title="My key"><section class="card"><${Empty} title="No user is linked to you">
      Keys belong to a user. ${person.role === "admin" ? html`Link one under <a
        href=${to("/people")}>People</a>.` : "Ask an admin to link one."}</${Empty}></section></${Page}>`;
  }
  return html`<${Page} title="My key" actions=${html`<a class="button" href=${to("/requests")}>My requests</a>
    <a class="button" href=${to("/connect")}>How to use it</a>`}>
    <${Loaded} of=${me}>${({ account, usage, keys, surfaces }) => html`
      <${Keys} keys=${keys} base="/me" user=${account.user} reload=${me.reload} surfaces=${surfaces ?? []} admin=${false} />
      <${Today} of=${account} usage=${usage} />
      <${Usage} path="/me/usage" />`}</${Loaded}>
  </${Page}>`;
}
