// The doors: signing in, the first admin, joining by a link, one's own sessions; and, for admins, who may come in.
import { go, html, to, useEffect, useState } from "../core.js";
import { moment } from "../format.js";
import { Badge, Confirm, Dialog, Empty, Field, Form, Loaded, NewLink, Page, say, Secret, Table, Theme, Time } from "../parts.js";
import { dropToken, get, patch, post, remove, rowsOf, session, signedIn, takenToken, useLoad } from "../server.js";

/** The frame of the pages before somebody is signed in. */
export const Alone = ({ title, children }) => {
  useEffect(() => { document.title = `${title} · streamrouter`; }, [title]);
  return html`<main class="alone">
    <div class="brand"><img src="/console/icon.svg" alt="" />streamrouter</div>
    <section class="card"><h1>${title}</h1>${children}</section>
  </main>`;
};

export const NewPassword = () => html`
  <${Field} label="New password" name="password" type="password" autocomplete="new-password" required maxlength="1024"
    minlength="10"
    hint="10 characters or more. A sentence is easier to remember than a riddle." />
  <${Field} label="The same again" name="again" type="password" autocomplete="new-password" required maxlength="256" />`;

/** Throws words for the form when the two differ. */
export function checked({ password, again }) {
  if (password !== again) throw Object.assign(new Error("The two passwords differ."), { param: "again" });
  return password;
}

export function SignIn({ ended }) {
  const submit = async ({ name, password }) => signedIn((await post("/sign-in", { name, password })).person);
  return html`<${Alone} title="Sign in">
    ${ended && html`<p class="notice" role="status">Your session has ended. Sign in again to go on.</p>`}
    <${Form} submit=${submit} action="Sign in">
      <${Field} label="Name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required
        maxlength="256" autofocus />
      <${Field} label="Password" name="password" type="password" autocomplete="current-password" required maxlength="1024" />
    </${Form}>
    <p class="muted small">No password yet, or forgotten? An admin can give you a one-time link.</p>
  </${Alone}>`;
}

export function Setup() {
  const token = takenToken();
  if (!session.get().setup) {
    return html`<${Alone} title="Set-up is done">
      <p>This server has an admin already; the link that was printed works once.</p>
      <p><a class="button primary" href=${to("/")}>Sign in</a></p>
    </${Alone}>`;
  }
  if (!token) {
    return html`<${Alone} title="Finish set-up">
      <p>Open the link that the server printed when it started: it begins with</p>
      <pre>${location.origin}${to("/setup")}#t=</pre>
      <p class="muted">It works once, for 30 minutes. A restart of <code>streamrouter serve</code> prints a new one
        while there is no admin. Without a browser: <code>streamrouter admin create NAME</code></p>
    </${Alone}>`;
  }
  const submit = async (values) => {
    const { person } = await post("/setup", { token, name: values.name, password: checked(values) });
    dropToken();
    signedIn(person);
    go(to("/"), { replace: true });
  };
  return html`<${Alone} title="Make the first admin">
    <p class="muted">This person can do everything in the console. More people can be invited later.</p>
    <${Form} submit=${submit} action="Make the admin">
      <${Field} label="Name" name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required
        maxlength="64" autofocus />
      <${NewPassword} />
    </${Form}>
  </${Alone}>`;
}

export function Join() {
  const token = takenToken();
  const invitation = useLoad((signal) => (token ? post("/invitation", { token }, { signal }) : null), [token]);
  if (!token) {
    return html`<${Alone} title="Join">
      <p>Open the whole link that you were given. It works once; an admin can make you a new one.</p>
      <p><a class="button" href=${to("/")}>Sign in</a></p>
    </${Alone}>`;
  }
  const submit = async (values) => {
    const { person } = await post("/join", { token, password: checked(values) });
    dropToken();
    signedIn(person);
    go(to("/"), { replace: true });
  };
  return html`<${Alone} title="Join">
    <${Loaded} of=${invitation}>${({ name, role, purpose, expires }) => html`
      <p>${purpose === "reset" ? "A new password for" : "Welcome,"} <strong
        class="break">${name}</strong>${purpose === "reset" ? "." : ` (${role}).`}
        ${" "}<span class="muted">The link is good until <${Time} at=${expires} long />.</span></p>
      <${Form} submit=${submit} action=${purpose === "reset" ? "Set the password" : "Join"}>
        <input type="text" name="name" value=${name} autocomplete="username" hidden readonly />
        <${NewPassword} />
      </${Form}>`}</${Loaded}>
  </${Alone}>`;
}

export function Settings({ person }) {
  const sessions = useLoad((signal) => get("/sessions", {}, signal), []);
  const change = async (values, ref, form) => {
    try {
      await post("/password", { old: values.old, new: checked(values) });
    } catch (error) {
      throw error.param === "new" ? Object.assign(error, { param: "password" }) : error;
    }
    form.reset();
    say("The password is changed. Other sessions have ended.");
    sessions.reload();
  };
  const end = async (id) => {
    await remove(`/sessions/${id}`);
    say("The session has ended.");
    sessions.reload();
  };
  const columns = [
    ["Client", (row) => html`<span class="break">${row.client || "unknown"}</span> ${row.current && html`<${Badge} of="this one"
      tone="info" />`}`, "free"],
    ["Began", (row) => html`<${Time} at=${row.created} long />`],
    ["Last seen", (row) => html`<${Time} at=${row.seen} long />`],
    ["", (row) => !row.current && html`<button class="small danger" onClick=${() => end(row.id)}>End</button>`, "acts"],
  ];
  return html`<${Page} title="Settings">
    <div class="columns">
      <section class="card"><h2>Password</h2>
        <${Form} submit=${change} action="Change the password">
          <input type="text" name="name" value=${person.name} autocomplete="username" hidden readonly />
          <${Field} label="Present password" name="old" type="password" autocomplete="current-password" required
            maxlength="1024" />
          <${NewPassword} />
        </${Form}>
      </section>
      <section class="card stack"><h2>Appearance</h2><div><${Theme} /></div>
        <p class="muted">“Auto” follows the system. Times are shown in your zone,
          ${" "}${Intl.DateTimeFormat().resolvedOptions().timeZone}; point at one to see UTC.</p>
      </section>
    </div>
    <section class="card"><h2>Your sessions</h2>
      <${Loaded} of=${sessions}>${(data) => html`<${Table} caption="Your sessions" columns=${columns}
        rows=${rowsOf(data)} />`}</${Loaded}>
    </section>
  </${Page}>`;
}

export function People({ person: self }) {
  const people = useLoad((signal) => get("/people", {}, signal), []);
  const tokens = useLoad((signal) => get("/tokens", {}, signal), []);
  const [open, setOpen] = useState(null);
  const close = () => setOpen(null);
  const relink = async (person) => {
    const { link, expires } = await post(`/people/${person.id}/invitation`, {});
    setOpen({ link, expires, title: person.status === "invited" ? "A new invitation" : "A link for a new password" });
    people.reload();
  };
  const change = async (person, what, done) => {
    try {
      await patch(`/people/${person.id}`, what);
      say(done);
    } catch (error) {
      say(error.message);
    }
    people.reload();
  };
  const columns = [
    ["Name", (row) => html`<strong>${row.name}</strong>${row.id === self.id && html` <span class="dim">(you)</span>`}`, "free"],
    ["Role", (row) => html`<${Badge} of=${row.role} />`],
    ["User", (row) => row.user || html`<span class="dim">none</span>`, "free"],
    ["Status", (row) => html`<${Badge} of=${row.status} />${row.invited_until && html`<span class="sub">link until <${Time}
      at=${row.invited_until} /></span>`}`],
    ["Last seen", (row) => html`<${Time} at=${row.last_seen} />`],
    ["", (row) => html`
      <button class="small" onClick=${() => setOpen({ edit: row })}>Edit</button>
      <button class="small" onClick=${() => relink(row)}>New link</button>
      ${row.status === "disabled"
        ? html`<button class="small" onClick=${() => change(row, { status: "active" }, `${row.name} may sign in again.`)}>Enable</button>`
        : html`<button class="small danger" onClick=${() => setOpen({ disable: row })}>Disable</button>`}`, "acts"],
  ];
  return html`<${Page} title="People"
    lead="People sign in here; users are the accounts that keys and money belong to. A member sees their own user only."
    actions=${html`<button class="primary" onClick=${() => setOpen({ invite: true })}>Invite somebody</button>`}>
    <${Loaded} of=${people}>${(data) => html`<${Table} caption="People" columns=${columns} rows=${rowsOf(data)} />`}</${Loaded}>
    <${Tokens} tokens=${tokens} open=${setOpen} />
    ${open?.invite && html`<${Invite} close=${close} done=${(made) => { setOpen(made); people.reload(); }} />`}
    ${open?.edit && html`<${Edit} person=${open.edit} close=${close} done=${() => { close(); people.reload(); }} />`}
    ${open?.link && html`<${NewLink} title=${open.title} link=${open.link} expires=${`, until ${moment(open.expires, true)}`}
      close=${close} />`}
    ${open?.token && html`<${NewToken} close=${() => { close(); tokens.reload(); }} />`}
    ${open?.disable && html`<${Confirm} title=${`Disable ${open.disable.name}?`} action="Disable" close=${close}
      act=${() => change(open.disable, { status: "disabled" }, `${open.disable.name} cannot sign in any more.`)}>
      <p>Their sessions end at once. The keys of their user go on working: disable the user to stop those.</p></${Confirm}>`}
    ${open?.drop && html`<${Confirm} title=${`Delete the token ${open.drop.name}?`} action="Delete" close=${close}
      act=${async () => { await remove(`/tokens/${open.drop.id}`); tokens.reload(); }}>
      <p>Scripts that use it are refused from now on.</p></${Confirm}>`}
  </${Page}>`;
}

const Roles = ({ value }) => html`<${Field} label="Role"
  hint="Members see their own key, usage and requests; admins see and do everything.">
  <select name="role" value=${value}><option value="member">member</option><option value="admin">admin</option></select>
    </${Field}>`;

function Invite({ close, done }) {
  const submit = async ({ name, role, user }, ref) => {
    const made = await post("/people", { name, role, ...(user ? { user } : {}) }, { ref });
    done({ link: made.link, expires: made.expires, title: `An invitation for ${made.person.name}` });
  };
  return html`<${Dialog} title="Invite somebody" close=${close}>
    <${Form} submit=${submit} action="Make the link" cancel=${close}>
    <${Field} label="Name" name="name" required maxlength="64" autocomplete="off" />
    <${Roles} value="member" />
    <${Field} label="User" name="user" maxlength="256" autocomplete="off"
      hint="The account that their keys belong to. One that does not exist is made, with the default caps." />
  </${Form}></${Dialog}>`;
}

function Edit({ person, close, done }) {
  const submit = async ({ role, user }) => {
    const what = { ...(role === person.role ? {} : { role }), ...(user === (person.user ?? "") ? {} : { user: user || null }) };
    if (Object.keys(what).length) await patch(`/people/${person.id}`, what);
    done();
  };
  return html`<${Dialog} title=${person.name} close=${close}><${Form} submit=${submit} action="Save" cancel=${close}>
    <${Roles} value=${person.role} />
    <${Field} label="User" name="user" value=${person.user ?? ""} maxlength="256" autocomplete="off" />
  </${Form}></${Dialog}>`;
}

function Tokens({ tokens, open }) {
  const columns = [
    ["Name", (row) => row.name], ["Token", (row) => html`<code>${row.display}</code>`], ["Made", (row) => html`<${Time}
      at=${row.created} long />`, "free"],
    ["Last used", (row) => html`<${Time} at=${row.last_used} />`],
    ["", (row) => html`<button class="small danger" onClick=${() => open({ drop: row })}>Delete</button>`, "acts"],
  ];
  return html`<section class="card">
    <div class="head"><h2>Tokens for scripts</h2><div class="actions">
      <button class="small" onClick=${() => open({ token: true })}>New token</button></div></div>
    <${Loaded} of=${tokens}>${(data) => rowsOf(data).length
      ? html`<${Table} caption="Tokens" columns=${columns} rows=${rowsOf(data)} />`
      : html`<${Empty} title="No tokens"
        command=${`curl ${location.origin}/admin/api/users -H "Authorization: Bearer sra_…"`}>A token
        lets a script use this API as an admin.</${Empty}>`}</${Loaded}>
  </section>`;
}

function NewToken({ close }) {
  const [made, setMade] = useState(null);
  return html`<${Dialog} title="New token" close=${close}>${made
    ? html`<div class="stack"><p>Copy it now: it is not shown again. It can do whatever an admin can.</p>
      <${Secret} text=${made.token} />
        <div class="ends"><button class="primary" onClick=${close}>Done</button></div></div>`
    : html`<${Form} submit=${async ({ name }, ref) => setMade(await post("/tokens", { name }, { ref }))} action="Make the token"
      cancel=${close}>
        <${Field} label="Name" name="name" required maxlength="64" hint="What it is for: backup, billing, monitoring …" />
          </${Form}>`}
  </${Dialog}>`;
}
