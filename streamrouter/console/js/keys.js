// Keys, the limits of users and keys, and the surfaces that they work on.
import { html, useState, useStore } from "./core.js";
import { Badge, Confirm, Dialog, Empty, Field, Form, NewKey, say, Table, Time } from "./parts.js";
import { forgetKey, get, keepKey, patch, post, rowsOf, useLoad, vault } from "./server.js";

export function useSurfaces(person) {
  return useLoad(async (signal) => {
    const { surfaces, config } = await get(person.role === "admin" ? "/config" : "/me", {}, signal);
    return { surfaces, cors: config?.server.cors_origins ?? null };
  }, [person.role]);
}

/** The base URL that clients are given. */
export function baseOf(surface) {
  const host = surface.host && surface.host !== location.hostname ? `${surface.host}${location.port ? `:${location.port}` : ""}` : location.host;
  return `${location.protocol}//${host}${surface.base_path.replace(/\/+$/, "")}`;
}

/** Whether this page may call it: its own origin only. */
export const isHere = (surface) => new URL(baseOf(surface)).origin === location.origin;

export const CAPS = [
  ["daily_input", "Input tokens a day"], ["daily_output", "Output tokens a day"], ["input_per_request", "Input tokens a request"],
  ["output_per_request", "Output tokens a request"], ["requests_per_minute", "Requests a minute"],
];

/** `of`: the account whose caps stand there at first; without one the server's defaults stay where a field is empty. */
export const CapFields = ({ of }) => html`
  <div class="pair">${CAPS.map(([name, label]) => html`<${Field} label=${label} name=${name} type="number" min="0" step="1"
    inputmode="numeric"
    value=${of?.[name] ?? ""} placeholder=${of ? "no cap" : "the default"} />`)}</div>
  <${ModelPicker} chosen=${of?.models ?? null} />
  <label class="check"><input type="checkbox" name="unlimited" checked=${Boolean(of?.unlimited)} />
    <span>No balance is needed, where billing is prepaid</span></label>`;

/** What a form of CapFields says. `before` null: a new user, whose empty fields keep the defaults. */
export function capsFrom(values, form, before) {
  const caps = {};
  for (const [name] of CAPS) {
    if (values[name] !== "") caps[name] = Number(values[name]);
    else if (before) caps[name] = null;
  }
  if (before || values.models === "some") caps.models = modelsFrom(form);
  if (before || values.unlimited) caps.unlimited = Boolean(values.unlimited);
  return caps;
}

/** Every model, or only some of them. */
export function ModelPicker({ chosen }) {
  const [some, setSome] = useState(chosen !== null);
  const models = useLoad((signal) => get("/models", {}, signal), []);
  const ids = [...new Set([...(chosen ?? []), ...rowsOf(models.data).map((model) => model.id)])];
  const pick = (event) => setSome(event.target.value === "some");
  return html`<fieldset><legend>Models</legend>
    <div class="row">
      <label class="check"><input type="radio" name="models" value="all" checked=${!some} onChange=${pick} />
        <span>every model</span></label>
      <label class="check"><input type="radio" name="models" value="some" checked=${some} onChange=${pick} />
        <span>only these</span></label>
    </div>
    ${some && html`<div class="choices">${ids.map((id) => html`<label key=${id}>
      <input type="checkbox" name="model" value=${id} checked=${chosen?.includes(id) ?? false} />${id}</label>`)}</div>`}
  </fieldset>`;
}

/** The allow-list of a form with a ModelPicker: null is every model. */
export const modelsFrom = (form) => {
  const data = new FormData(form);
  return data.get("models") === "some" ? data.getAll("model") : null;
};

/** `base`: "" for an admin, "/me" for one's own. `user`: whose keys, for the empty state. */
export function Keys({ keys, base, user, reload, surfaces, admin }) {
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const made = (key) => { setOpen({ made: key }); reload(); };
  const columns = [
    ["Key", (row) => html`<code>${row.display}</code><span class="sub">${row.id}</span>`],
    ["Surface", (row) => row.surface],
    ["Status", (row) => html`<${Badge} of=${row.status} />${row.expires && row.status === "active" && html`<span
      class="sub">until <${Time} at=${row.expires} /></span>`}`],
    ["Models", (row) => (row.models ? row.models.join(", ") || "none" : html`<span class="dim">as the user</span>`), "free"],
    ["In flight", (row) => `${row.in_flight}${row.concurrency ? ` of ${row.concurrency}` : ""}`, "num"],
    ["Made", (row) => html`<${Time} at=${row.created} />`],
    ["", (row) => row.status === "active" && !row.replaced_by && html`
      ${admin && html`<button class="small" onClick=${() => setOpen({ edit: row })}>Edit</button>`}
      <button class="small" onClick=${() => setOpen({ rotate: row })}>${admin ? "Rotate" : "Regenerate"}</button>
      <button class="small danger" onClick=${() => setOpen({ revoke: row })}>Revoke</button>`, "acts"],
  ];
  return html`<section class="card">
    <div class="head"><h2>Keys</h2><div class="actions">
      <button class="primary small" onClick=${() => setOpen({ create: true })}>New key</button></div></div>
    ${keys.length
      ? html`<${Table} caption="Keys" columns=${columns} rows=${keys} />`
      : html`<${Empty} title="No keys"
        command=${admin ? `streamrouter key create ${user}` : undefined}>A key is what a client sends.
          ${" "}${admin ? "Make one here, or:" : "Make your first one."}</${Empty}>`}
    ${open?.create && html`<${NewKeyForm} base=${base} user=${user} surfaces=${surfaces} admin=${admin} close=${close}
      done=${made} />`}
    ${open?.edit && html`<${EditKey} of=${open.edit} close=${close} done=${() => { close(); reload(); }} />`}
    ${open?.rotate && html`<${Rotate} of=${open.rotate} base=${base} admin=${admin} close=${close} done=${made} />`}
    ${open?.revoke && html`<${Revoke} of=${open.revoke} base=${base} admin=${admin} close=${close} reload=${reload} />`}
    ${open?.made && html`<${NewKey} made=${open.made} close=${close} />`}
  </section>`;
}

const SurfaceField = ({ surfaces }) => surfaces.length > 1 && html`<${Field} label="Surface"
  hint="A key works on one surface only.">
  <select name="surface">${surfaces.map((surface) => html`<option
    value=${surface.name}>${surface.name} (${surface.base_path})</option>`)}</select></${Field}>`;

const Concurrency = ({ value }) => html`<${Field} label="Requests at once" name="concurrency" type="number" min="1" step="1"
  inputmode="numeric"
  value=${value ?? ""} placeholder=${value === undefined ? "the surface's own" : "no cap"} />`;

function NewKeyForm({ base, user, surfaces, admin, close, done }) {
  const submit = async ({ surface, concurrency }, ref, form) => {
    const body = surface ? { surface } : {};
    if (admin) Object.assign(body, { user, models: modelsFrom(form) }, concurrency ? { concurrency: Number(concurrency) } : {});
    done(await post(`${base}/keys`, body, { ref }));
  };
  return html`<${Dialog} title="New key" close=${close}><${Form} submit=${submit} action="Make the key" cancel=${close}>
    <${SurfaceField} surfaces=${surfaces} />
    ${admin ? html`<${ModelPicker} chosen=${null} />
      <${Concurrency} />` : html`<p>It is shown once, right after it is made.</p>`}
  </${Form}></${Dialog}>`;
}

function EditKey({ of, close, done }) {
  const submit = async ({ concurrency }, ref, form) => {
    await patch(`/keys/${of.id}`, { models: modelsFrom(form), concurrency: concurrency ? Number(concurrency) : null });
    done();
  };
  return html`<${Dialog} title=${`Key ${of.display}`} close=${close}><${Form} submit=${submit} action="Save" cancel=${close}>
    <${ModelPicker} chosen=${of.models} /><${Concurrency} value=${of.concurrency ?? null} />
  </${Form}></${Dialog}>`;
}

const GRACES = [["0", "at once"], ["3600", "in an hour"], ["86400", "in a day"], ["604800", "in a week"]];

function Rotate({ of, base, admin, close, done }) {
  const submit = async ({ grace_s: grace }, ref) => {
    done(await post(`${base}/keys/${of.id}/rotate`, Number(grace) ? { grace_s: Number(grace) } : {}, { ref }));
  };
  return html`<${Dialog} title=${`${admin ? "Rotate" : "Regenerate"} ${of.display}`} close=${close}>
    <${Form} submit=${submit} action=${admin ? "Rotate" : "Regenerate"} cancel=${close}>
    <p>A new key takes its place, with the same limits. It is shown once.</p>
    ${admin ? html`<${Field} label="The old one stops">
      <select name="grace_s">${GRACES.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>
      </${Field}>`
      : html`<p>The old one stops working at once.</p>`}
  </${Form}></${Dialog}>`;
}

function Revoke({ of, base, admin, close, reload }) {
  const [now, setNow] = useState(false);
  const act = async () => {
    await post(`${base}/keys/${of.id}/revoke`, admin && now ? { now } : {});
    say(`${of.display} is revoked.`);
    reload();
  };
  return html`<${Confirm} title=${`Revoke ${of.display}?`} action="Revoke" act=${act} close=${close}>
    <p>Clients that send it are refused from now on. It cannot be taken back.</p>
    ${admin && html`<label class="check"><input type="checkbox" checked=${now}
      onChange=${(event) => setNow(event.target.checked)} /><span>Also stop its streams in flight</span></label>`}
  </${Confirm}>`;
}

export function KeyCard({ person, surfaces }) {
  const key = useStore(vault);
  if (key) {
    return html`<section class="card row">
      <span>Key <code>${key.secret.slice(0, 6)}…${key.secret.slice(-4)}</code> on ${key.surface}, in this page's memory only.</span>
      <button class="small" onClick=${forgetKey}>Another key</button></section>`;
  }
  const paste = ({ secret, surface }) => keepKey(secret.trim(), surface ?? surfaces[0]?.name);
  return html`<div class="columns">
    <section class="card"><h2>Use a key that you have</h2><${Form} submit=${async (values) => paste(values)} action="Use it">
      <${Field} label="Key" name="secret" required autocomplete="off" spellcheck="false" type="password"
        placeholder=${`${surfaces[0]?.key_prefix ?? "sk-"}…`}
        hint="It is kept in this page's memory, nowhere else: a reload forgets it." />
      <${SurfaceField} surfaces=${surfaces} />
    </${Form}></section>
    <${MakeKey} person=${person} surfaces=${surfaces} />
  </div>`;
}

function MakeKey({ person, surfaces }) {
  const admin = person.role === "admin";
  const users = useLoad((signal) => (admin ? get("/users", {}, signal) : []), [admin]);
  const make = async ({ user, surface }, ref) => {
    const made = await post(admin ? "/keys" : "/me/keys", { ...(admin ? { user } : {}), ...(surface ? { surface } : {}) }, { ref });
    if (!made.key) throw new Error("This key was made already, and was shown then. Make another one.");
    keepKey(made.key, made.surface);
  };
  const known = rowsOf(users.data);
  if (admin && users.data && !known.length) return html`<section class="card"><h2>Make a new one</h2>
    <p>There is no user yet. <a href="/console/users?new=1">Make one first</a>.</p></section>`;
  return html`<section class="card"><h2>Make a new one</h2><${Form} submit=${make} action="Make a key and use it">
    ${admin ? html`<${Field} label="For the user"><select name="user">${known.map((row) => html`<option
      value=${row.user}>${row.user}</option>`)}</select></${Field}>`
      : html`<p class="muted">It belongs to your user and stands under My key, where it can be revoked. Its secret stays in this page.</p>`}
    <${SurfaceField} surfaces=${surfaces} />
  </${Form}></section>`;
}
