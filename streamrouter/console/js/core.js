// What everything stands on: Preact and htm, values that components follow, and where we are.
import {
  html, render, createContext, useState, useReducer, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext,
} from "/console/vendor/htm-3.1.1/preact-standalone.js";

export {
  html, render, createContext, useState, useReducer, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext,
};

export function store(value) {
  const followers = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const follower of [...followers]) follower(value);
    },
    follow(follower) {
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
}

export function useStore(source) {
  const [value, setValue] = useState(() => source.get());
  useEffect(() => {
    setValue(() => source.get());
    return source.follow((next) => setValue(() => next));
  }, [source]);
  return value;
}

export const HOME = "/console";

let visit = 0; // changes when a page is asked for that is shown already: it is drawn anew

const here = () => ({
  visit,
  path: location.pathname.slice(HOME.length).replace(/\/+$/, "") || "/",
  query: Object.fromEntries(new URLSearchParams(location.search)),
});

export const place = store(here());

/** The link to a page: `to("/requests", { user: "a" })`. */
export function to(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(given).toString();
  return HOME + (path === "/" ? "" : path) + (text ? `?${text}` : "");
}

export function go(url, { replace = false } = {}) {
  if (new URL(url, location).href === location.href) visit += 1;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  place.set(here());
  if (!replace) scrollTo(0, 0);
}

/** Changes the query of this page; the address tells what is shown, the back button undoes it. */
export const setQuery = (query) => go(to(place.get().path, query));

addEventListener("popstate", () => place.set(here()));

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const ours = link && link.origin === location.origin && `${link.pathname}/`.startsWith(`${HOME}/`);
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!ours || !plain || event.defaultPrevented || link.target || link.hasAttribute("download") || link.hash) return;
  event.preventDefault();
  go(link.href);
});
