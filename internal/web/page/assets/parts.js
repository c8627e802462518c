// Small parts that several sections use.

import { h } from "./dom.js";
import { capital } from "./format.js";

const paths = {
  calendar: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4",
  check: "M4 12.5l5 5L20 6.5",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.5",
  key: "M8 18a4 4 0 1 1 0-8 4 4 0 0 1 0 8zM11 11l9-8M17 5.5l3 3",
  open: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  refresh: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  plus: "M12 5v14M5 12h14",
};

export function icon(name) {
  return h("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: paths[name] }));
}

// pill is a state in a word, with a color that only repeats it.
export function pill(kind, text) {
  return h("span", { class: `pill ${kind}` }, text);
}

export function note(kind, ...content) {
  return h("p", { class: `note ${kind}` }, icon(kind === "ok" ? "check" : "warning"), h("span", {}, ...content));
}

// copyField is a text to copy. Without HTTPS browsers do not let a page write to the clipboard: then the text is selected.
export function copyField(id, label, text, { secret = false, announce }) {
  return h("div", { class: "copy" },
    h("label", { for: id }, label),
    h("div", { class: "row" },
      h("input", { id, readonly: true, value: text, class: secret ? "mono secret" : "mono", onfocus: (e) => e.target.select(), spellcheck: "false", autocomplete: "off" }),
      h("button", { type: "button", class: "small", "aria-label": `Copy: ${label}`, onclick: () => copy(id, label, announce) }, icon("copy"), "Copy")));
}

async function copy(id, label, announce) {
  const field = document.getElementById(id);
  field.focus();
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    announce(`${label}: copied`);
  } catch {
    announce(`${label}: selected. Copy it with Ctrl+C, or from the menu of your device.`);
  }
}

// described is a text with code between backticks.
export function described(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

// docs links to a page of the documentation.
export function docs(page, text) {
  return h("a", { href: `https://github.com/graph2mqtt/graph2mqtt/blob/main/docs/${page}`, rel: "noreferrer", target: "_blank" }, text);
}

// failureText returns the message of a failed action, and when it can be tried again.
export function failureText(error) {
  return capital(error.message) + (error.retryAfter ? `; try again in ${error.retryAfter} s` : "");
}

// outcome shows how an action ended, beside its button.
export function outcome(result) {
  if (!result) return null;
  return h("p", { class: `outcome ${result.ok ? "ok" : "bad"}` }, result.text);
}

// button is a button that is disabled while its action runs.
export function button(app, key, label, { kind = "", symbol, name, action }) {
  const busy = app.busy.has(key);
  return h("button", { type: "button", class: kind, "aria-disabled": busy ? "true" : undefined, "aria-label": name, onclick: () => !busy && app.run(key, action) },
    symbol ? icon(symbol) : null, busy ? `${label} …` : label);
}
