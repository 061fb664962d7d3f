// The other side: calls of the admin API, loading, the live feed, who is signed in.
import { store, useCallback, useEffect, useRef, useState } from "./core.js";

const BASE = "/admin/api";
let signedOut = () => {};

/** What to do when a call finds that nobody is signed in (any more). */
export const onSignedOut = (act) => { signedOut = act; };

export class ApiError extends Error {
  constructor(status, error, requestId, retryAfter) {
    super(error.message || `The server answered ${status}.`);
    Object.assign(this, { status, code: error.code, param: error.param, requestId, retryAfter });
  }
}

/** The address of a resource; what is empty in `query` is left out. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return BASE + path + (text ? `?${text}` : "");
}

/** One path segment of a name that a person chose. */
export const segment = (name) => encodeURIComponent(name);

export const get = (path, query, signal) => ask("GET", address(path, query), undefined, { signal });
export const post = (path, body, options) => ask("POST", address(path), body, options);
export const patch = (path, body) => ask("PATCH", address(path), body);
export const remove = (path) => ask("DELETE", address(path));

/** A reference that makes a creation or a payment happen once, however often it is sent. */
export function reference() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return "console-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function ask(method, url, body, { ref, signal } = {}) {
  const headers = { accept: "application/json" };
  const sends = method !== "GET" && method !== "DELETE";
  if (sends) headers["content-type"] = "application/json";
  if (ref) headers["idempotency-key"] = ref;
  const request = { method, headers, signal, credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (sends) request.body = JSON.stringify(body ?? {});
  let response;
  try {
    response = await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: "The server cannot be reached. Is it running?" });
  }
  return answerOf(response);
}

async function answerOf(response) {
  const text = response.status === 204 ? "" : await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = { error: { message: `The server's answer (${response.status}) is not JSON.` } };
  }
  if (response.ok && !value?.error?.message) return value;
  const error = new ApiError(
    response.status, value?.error ?? {}, value?.error?.request_id, Number(response.headers.get("retry-after")) || 0,
  );
  if (error.code === "not_signed_in") signedOut();
  throw error;
}

/** `ask(signal)` is called when `deps` change, on `reload()`, and every `every_ms` while the page is seen. */
export function useLoad(ask, deps, every_ms = 0) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const running = useRef(null);
  const load = useCallback(async (quiet) => {
    running.current?.abort();
    const mine = (running.current = new AbortController());
    if (!quiet) setState((before) => ({ ...before, loading: true }));
    try {
      const data = await ask(mine.signal);
      if (!mine.signal.aborted) setState({ data, error: null, loading: false });
    } catch (error) {
      if (!mine.signal.aborted) setState((before) => ({ data: before.data, error, loading: false }));
    }
  }, deps);
  useEffect(() => {
    setState({ data: null, error: null, loading: true });
    load(false);
    const timer = every_ms ? setInterval(() => document.hidden || load(true), every_ms) : 0;
    return () => {
      clearInterval(timer);
      running.current?.abort();
    };
  }, [load, every_ms]);
  return { ...state, reload: () => load(true) };
}

/** The lists that come as `{data, next}` or plainly. */
export const rowsOf = (answer) => (Array.isArray(answer) ? answer : (answer?.data ?? []));

/** The live feed, one aggregate a second. A page that is not seen does not hold a connection. */
export function useLive(running = true) {
  const [live, setLive] = useState(null);
  useEffect(() => {
    if (!running) return undefined;
    let source = null;
    const close = () => { source?.close(); source = null; };
    const open = () => {
      close();
      if (document.hidden) return;
      source = new EventSource(address("/live"));
      source.onmessage = (event) => setLive(JSON.parse(event.data));
      source.onerror = () => {
        if (source?.readyState === EventSource.CLOSED) refresh().catch(() => {});
      };
    };
    open();
    document.addEventListener("visibilitychange", open);
    return () => {
      document.removeEventListener("visibilitychange", open);
      close();
    };
  }, [running]);
  return live;
}

// One-time tokens come in the fragment (`#t=…`), which never reaches a server, and leave the address at once.
let token = "";

export function keepToken() {
  const found = /^#t=(.+)$/.exec(location.hash);
  if (!found) return;
  token = decodeURIComponent(found[1]);
  history.replaceState(null, "", location.pathname + location.search);
}

export const takenToken = () => token;
export const dropToken = () => { token = ""; };
addEventListener("hashchange", () => {
  if (!location.hash.startsWith("#t=")) return;
  keepToken();
  dispatchEvent(new Event("popstate"));
});

/** The key that the playground uses, {secret, surface}: in this page's memory only, a reload forgets it. */
export const vault = store(null);

export const keepKey = (secret, surface) => vault.set({ secret, surface });
export const forgetKey = () => vault.set(null);

/** Who is signed in, as the server says it; null: not asked yet. */
export const session = store(null);

export async function refresh() {
  session.set(await get("/session"));
  return session.get();
}

/** Somebody is signed in (or, with null, nobody any more). */
export function signedIn(person) {
  session.set({ ...session.get(), setup: false, person, ended: false });
  if (person) refresh().catch(() => {}); // the version is told to whoever is signed in
}

export async function signOut() {
  forgetKey();
  try {
    await post("/sign-out", {});
  } finally {
    signedIn(null);
  }
}

onSignedOut(() => {
  const now = session.get();
  if (now?.person) {
    forgetKey();
    session.set({ ...now, person: null, ended: true });
  }
});
