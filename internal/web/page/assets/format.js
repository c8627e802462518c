// Times and numbers as people read them. Times are shown in the browser's zone; ages are counted from the clock of the program.

import { h } from "./dom.js";

let skew = 0; // of the program's clock to that of the browser, in ms

export function setClock(time) {
  skew = Date.parse(time) - Date.now();
}

export function now() {
  return Date.now() + skew;
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const minutes = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

// time describes a time element. Style is ago, in, clock, moment, day or date; ago and in are kept up to date by tick.
export function time(iso, style = "moment") {
  return h("time", { datetime: iso, "data-style": style, title: style === "date" ? undefined : dateTime.format(new Date(iso)), leave: true, initial: { textContent: inWords(iso, style) } });
}

export function inWords(iso, style) {
  const at = style === "date" ? new Date(`${iso}T00:00`) : new Date(iso);
  const seconds = (at.getTime() - now()) / 1000;
  switch (style) {
    case "ago":
      return seconds > -1.5 ? "just now" : `${duration(-seconds)} ago`;
    case "in":
      return seconds < 1 ? "now" : `in ${duration(seconds)}`;
    case "left":
      return seconds < 1 ? "it has expired" : `${duration(seconds)} left`;
    case "clock":
      return clock.format(at);
    case "day":
    case "date":
      return day.format(at);
    case "short":
      return minutes.format(at);
    default:
      return new Date(now()).toDateString() === at.toDateString() ? minutes.format(at) : dayAndTime.format(at);
  }
}

// tick brings the times below an element up to date. Only text that differs is changed.
export function tick(root) {
  for (const element of root.querySelectorAll("time")) {
    const text = inWords(element.getAttribute("datetime"), element.dataset.style);
    if (element.textContent !== text) element.textContent = text;
  }
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function milliseconds(ms) {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function count(n, one, many = `${one}s`) {
  return `${n} ${n === 1 ? one : many}`;
}

// words writes a code or an operation as words: "sign in required" for sign_in_required.
export function words(code) {
  return code.replaceAll("_", " ");
}

// capital begins a sentence, unless with an identifier.
export function capital(text) {
  if (/^\w+_/.test(text)) return text;
  return text.charAt(0).toUpperCase() + text.slice(1);
}
