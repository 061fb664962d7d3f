// The start, the frame around every page, and which page is shown to whom.
import { go, html, place, render, to, useEffect, useRef, useState, useStore } from "./core.js";
import { Badge, Fault, Page, Theme, Toasts } from "./parts.js";
import { keepToken, refresh, session, signOut } from "./server.js";

const ADMIN = [
  ["Watch", [["/", "Overview"], ["/streams", "Streams"], ["/requests", "Requests"]]],
  ["Manage", [["/users", "Users & keys"], ["/ledger", "Ledger"], ["/models", "Models & upstreams"], ["/people", "People"]]],
  ["Use", [["/playground", "Playground"], ["/connect", "Connect"]]],
];
const MEMBER = [["", [
  ["/me", "My key"], ["/requests", "Requests"], ["/playground", "Playground"], ["/connect", "Connect"], ["/settings", "Settings"],
]]];
const OWN = [["/me", "My key"]];
const SETTINGS = [["/settings", "Settings"]];

function groupsOf(person) {
  if (person.role !== "admin") return MEMBER;
  return [...ADMIN, ["Yours", [...(person.user ? OWN : []), ...SETTINGS]]];
}

export function Frame({ person, path, children }) {
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [path]);
  const current = (target) => target === path || (target !== "/" && path.startsWith(`${target}/`));
  return html`<div class="frame">
    <a class="skip" href="#main">Skip to the page</a>
    <nav class=${`nav ${open ? "open" : ""}`} aria-label="Console"><div class="inside">
      <div class="bar">
        <a class="brand" href=${to("/")}><img src="/console/icon.svg" alt="" />streamrouter</a>
        <button class="menu-button small" aria-expanded=${String(open)} aria-controls="links"
          onClick=${() => setOpen(!open)}>Menu</button>
      </div>
      <div class="links" id="links">
        ${groupsOf(person).map(([name, links]) => html`${name && html`<div class="group">${name}</div>`}
          ${links.map(([target, text]) => html`<a class="item" href=${to(target)}
            aria-current=${current(target) ? "page" : undefined}>${text}</a>`)}`)}
      </div>
      <div class="foot">
        <div class="who"><strong>${person.name}</strong> <${Badge} of=${person.role} /></div>
        <${Theme} />
        <div class="row"><button class="small" onClick=${signOut}>Sign out</button></div>
        ${session.get().version && html`<div class="muted small">Version ${session.get().version}</div>`}
      </div>
    </div></nav>
    <main id="main" tabindex="-1">${children}</main>
  </div>`;
}

// path, module, the page in it, for whom ("user": has an account of their own)
const PAGES = [
  ["/", "watch", "Overview", "admin"], ["/streams", "watch", "Streams", "admin"], ["/requests", "books", "Requests", "anyone"],
  ["/requests/:id", "books", "Request", "anyone"], ["/ledger", "books", "Ledger", "admin"], ["/users", "users", "Users", "admin"],
  ["/users/:id", "users", "User", "admin"], ["/me", "users", "Me", "user"], ["/models", "models", "Models", "admin"],
  ["/people", "doors", "People", "admin"], ["/playground", "playground", "Playground", "anyone"],
  ["/connect", "connect", "Connect", "anyone"], ["/settings", "doors", "Settings", "anyone"],
];
const OUTSIDE = { "/setup": "Setup", "/join": "Join" };

function matched(path) {
  const parts = path.split("/");
  for (const [pattern, module, name, who] of PAGES) {
    const wanted = pattern.split("/");
    const same = wanted.length === parts.length && wanted.every((part, at) => part.startsWith(":") || part === parts[at]);
    if (same) return { module, name, who, id: pattern.endsWith(":id") ? decodeURIComponent(parts.at(-1)) : undefined };
  }
  return null;
}

const allowed = (who, person) =>
  who === "anyone" || (who === "admin" && person.role === "admin") || (who === "user" && Boolean(person.user || person.role === "member"));

export function App() {
  const now = useStore(session);
  const { path, query, visit } = useStore(place);
  const [error, setError] = useState(null);
  useEffect(() => { refresh().catch(setError); }, []);
  let shown;
  if (error && !now) shown = html`<main class="alone"><${Fault} of=${error} retry=${() => location.reload()} /></main>`;
  else if (!now) shown = html`<p class="boot" role="status">Loading the console …</p>`;
  else if (OUTSIDE[path]) shown = html`<${Lazy} module="doors" name=${OUTSIDE[path]} />`;
  else if (now.setup) shown = html`<${Lazy} module="doors" name="Setup" />`;
  else if (!now.person) shown = html`<${Lazy} module="doors" name="SignIn" ended=${now.ended} />`;
  else shown = html`<${Inside} person=${now.person} path=${path} query=${query} visit=${visit} />`;
  return html`${shown}<${Toasts} />`;
}

function Inside({ person, path, query, visit }) {
  const page = matched(path);
  const home = path === "/" && person.role !== "admin";
  useEffect(() => { if (home) go(to("/me"), { replace: true }); }, [home]);
  useFocusOnArrival(path);
  let content = null;
  if (!page) content = html`<${Page} title="There is no such page"><p><a href=${to("/")}>To the start</a></p></${Page}>`;
  else if (home) content = null;
  else if (!allowed(page.who, person)) {
    content = html`<${Page} title="Not yours to see">
      <p>This page is for ${page.who === "admin" ? "admins" : "people with an account"}. <a href=${to("/")}>To the start</a></p>
      </${Page}>`;
  } else content = html`<${Lazy} key=${path + visit} module=${page.module} name=${page.name} id=${page.id} query=${query}
    person=${person} />`;
  return html`<${Frame} person=${person} path=${path}>${content}</${Frame}>`;
}

/** A page that was gone to gets the focus on its heading, so that a screen reader begins there. */
function useFocusOnArrival(path) {
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return undefined;
    }
    const timer = setTimeout(() => document.querySelector("main h1")?.focus({ preventScroll: true }), 60);
    return () => clearTimeout(timer);
  }, [path]);
}

const loaded = new Map();

function Lazy({ module, name, ...rest }) {
  const [, drawn] = useState(0);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (loaded.has(module)) return;
    import(`./pages/${module}.js`).then((found) => {
      loaded.set(module, found);
      drawn((times) => times + 1);
    }, () => setError(new Error("This page could not be loaded. Is the server running?")));
  }, [module]);
  const Found = loaded.get(module)?.[name];
  if (Found) return html`<${Found} ...${rest} />`;
  return error ? html`<${Fault} of=${error} retry=${() => location.reload()} />` : html`<p class="muted spin"
    role="status">Loading …</p>`;
}

// A one-time token leaves the address before anything else sees it.
keepToken();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
