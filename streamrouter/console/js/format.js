// Numbers, money, times and durations as text. Amounts are decimal strings and stay exact.
const THIN = "\u202f";

/** 1234567 → "1 234 567" with thin spaces; also for integers that came as text. */
export function count(value) {
  if (value === null || value === undefined || value === "") return "–";
  const text = typeof value === "number" && !Number.isInteger(value) ? value.toFixed(value < 10 ? 1 : 0) : String(value);
  const [whole, part] = text.split(".");
  return whole.replace(/\B(?=(\d{3})+$)/g, THIN) + (part ? `.${part}` : "");
}

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A short form for tight places, from 10 000 on: 1 234 567 → "1.23 M". */
export function brief(value) {
  if (Math.abs(Number(value)) < 10_000) return count(value);
  return compact.format(Number(value)).replace(/[A-Z]/, (unit) => THIN + unit.replace("K", "k"));
}

/** "12.340000001" → "$12.34"; below a dollar three digits that say something. The exact amount belongs in a title. */
export function money(amount) {
  if (amount === null || amount === undefined || amount === "") return "–";
  const value = Number(amount);
  const sign = value < 0 ? "−" : "";
  const size = Math.abs(value);
  if (size === 0) return "$0";
  const digits = size >= 1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size)));
  const text = size.toFixed(digits);
  return `${sign}$${count(size >= 1 ? text : text.replace(/0+$/, "").replace(/\.$/, ""))}`;
}

/** 950 → "950 ms", 12 340 → "12.3 s", 125 000 → "2 min 5 s". */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10 && !Number.isInteger(ms)) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return seconds(ms / 1000);
}

export function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 60) return `${s < 10 ? s.toFixed(2) : s.toFixed(1)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => s >= size);
  const [[big, size], small] = [units[first], units[first + 1]];
  const rest = small ? Math.floor((s % size) / small[1]) : 0;
  return `${Math.floor(s / size)} ${big}${rest ? ` ${rest} ${small[0]}` : ""}`;
}

/** Something a second: one decimal below 100. */
export const rate = (value) => (value == null ? "–" : value < 100 ? String(Number(value.toFixed(1))) : count(Math.round(value)));

/** A moment in the viewer's zone; with `long`, always with its date. */
export function moment(iso, long = false) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "–";
  const today = date.toDateString() === new Date().toDateString();
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const day = { month: "short", day: "numeric", ...(date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" }) };
  return new Intl.DateTimeFormat(undefined, today && !long ? clock : { ...day, ...clock }).format(date);
}

/** The same moment in UTC, for a title. */
export function utc(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "" : `${date.toISOString().replace("T", " ").replace(/\.\d+Z$/, "")} UTC`;
}

/** The query's `since`/`until` as an input of type datetime-local wants it, and back. */
export function localInput(iso) {
  const date = new Date(iso);
  if (!iso || Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

export const fromLocalInput = (text) => (text ? new Date(text).toISOString().replace(/\.\d+Z$/, "Z") : "");

/** Seconds until the next midnight UTC, when daily caps begin anew. */
export function untilReset(now = Date.now()) {
  return 86400 - (Math.floor(now / 1000) % 86400);
}
