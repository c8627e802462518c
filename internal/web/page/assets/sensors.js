// Sensors: their values in words, and their last polls.

import { withoutCommand } from "./attention.js";
import { h } from "./dom.js";
import { count, duration, milliseconds, time, words } from "./format.js";
import { button, note, outcome, pill } from "./parts.js";

const shownPolls = 5;

export function sensors(app) {
  const groups = app.state.accounts.filter((a) => a.sensors.length);
  return h("section", { id: "sensors", key: "sensors", "aria-labelledby": "sensors-title" },
    h("h2", { id: "sensors-title" }, "Sensors"),
    groups.length ? groups.map((a) => group(app, a)) : h("p", { class: "card muted" }, "No sensor is configured yet. Add one below."));
}

function group(app, a) {
  const key = `read/${a.id}`;
  return h("div", { class: "card flush", key: a.id },
    h("div", { class: "group" }, h("h3", {}, a.name),
      h("div", { class: "actions" },
        button(app, key, "Read all now", { kind: "small", symbol: "refresh", name: `Read all now: ${a.name}`, action: () => app.act("refresh", a.id).then(() => `${a.name}: all sensors are read now.`) }),
        button(app, `rescan/${a.id}`, "Look for new lists", {
          kind: "small quiet", name: `Look for new lists: ${a.name}`, action: () => app.act("rescan", a.id).then(() => `${a.name}: looking for new calendars, task lists and permissions.`),
        }))),
    outcome(app.results.get(key) ?? app.results.get(`rescan/${a.id}`)),
    h("ul", { class: "sensors" }, a.sensors.map((s) => sensor(app, a, s))));
}

function sensor(app, a, s) {
  const [first, ...others] = s.values;
  const more = others.filter((v) => !["unknown", "hidden"].includes(v.kind) && !(v.kind === "flag" && v.value === "false")).slice(0, 2);
  const failed = s.polls.filter((p) => p.outcome !== "ok").length;
  return h("li", { key: s.id }, h("details", {},
    h("summary", {},
      h("span", { class: "who" }, h("strong", {}, s.name), h("span", { class: "muted" }, s.type)),
      h("span", { class: "now" },
        h("span", { class: `headline ${tone(s, first)}` }, headline(s, first)),
        s.problem ? h("span", { class: "bad" }, withoutCommand(s.problem.message)) : more.map((v) => h("span", { class: "muted", key: v.name }, `${v.name}: `, shown(v)))),
      h("span", { class: "history" },
        s.interval ? strip(s, failed) : h("span", { class: "muted" }, "offers requests only"),
        failed ? h("span", { class: "bad" }, `${failed} of ${s.polls.length} failed`) : null),
      s.interval ? h("span", { class: "when" },
        h("span", {}, h("span", { class: "muted" }, "read "), s.last_read ? time(s.last_read, "ago") : "never"),
        h("span", {}, h("span", { class: "muted" }, "next "), next(a, s))) : null),
    h("div", { class: "more" },
      s.problem ? note("bad", withoutCommand(s.problem.message), s.problem.since ? [" Since ", time(s.problem.since), "."] : null) : null,
      s.values.length ? values(s) : null,
      s.interval ? polls(app, a, s) : null,
      h("p", { class: "foot" }, h("span", {}, "Topic ", h("code", {}, s.topic)), s.interval ? h("span", {}, `Reads every ${duration(s.interval)}`) : null,
        s.interval ? button(app, `poll/${a.id}/${s.id}`, "Poll now", { kind: "small", symbol: "refresh", name: `Poll now: ${s.name}`, action: () => app.act("refresh", a.id, { sensor: s.id }).then(() => `${s.name}: read now.`) }) : null),
      outcome(app.results.get(`poll/${a.id}/${s.id}`)))));
}

function tone(s, v) {
  if (s.problem) return "bad";
  if (!s.available && s.interval) return "muted";
  return v?.kind === "flag" && v.value === "true" ? "on" : "";
}

function headline(s, v) {
  if (s.problem) return "Not working";
  if (!v || v.kind === "unknown") return s.interval ? "Unknown" : "–";
  const text = v.kind === "flag" ? (v.value === "true" ? v.name : `Not ${v.name.toLowerCase()}`) : [`${v.name}: `, shown(v)];
  return s.available ? text : [text, " (not current)"];
}

function shown(v) {
  switch (v.kind) {
    case "unknown":
      return "unknown";
    case "hidden":
      return "not shown here";
    case "flag":
      return v.value === "true" ? "yes" : "no";
    case "time":
      return time(v.value);
    case "date":
      return time(v.value, "date");
  }
  return v.value;
}

function next(a, s) {
  if (a.state !== "signed_in") return "after sign-in";
  return s.next_read ? time(s.next_read, "in") : "soon";
}

const widest = 30;

// strip shows the last polls as bars. Their heights are the logarithm of how long they took.
function strip(s, failed) {
  const taken = s.polls.map((p) => p.ms);
  const slowest = Math.max(1000, ...taken);
  const label = s.polls.length ? `${s.name}: ${s.polls.length - failed} of the last ${count(s.polls.length, "poll")} succeeded${failed ? `, ${failed} failed` : ""}` : `${s.name}: no poll yet`;
  return h("svg", { class: "strip", viewBox: `0 0 ${widest * 6} 24`, role: "img", "aria-label": label, preserveAspectRatio: "xMaxYMid meet" },
    s.polls.map((p, i) => {
      const height = 6 + 18 * (Math.log10(1 + p.ms) / Math.log10(1 + slowest));
      return h("rect", { class: kind(p.outcome), x: String((widest - s.polls.length + i) * 6), y: (24 - height).toFixed(1), width: "4", height: height.toFixed(1), rx: "1.5" });
    }));
}

function kind(outcome) {
  if (outcome === "ok") return "ok";
  return outcome === "throttled" ? "warn" : "bad";
}

function values(s) {
  return h("dl", { class: "values" }, s.values.map((v) => h("div", { key: v.name }, h("dt", {}, v.name), h("dd", {}, shown(v)))));
}

function polls(app, a, s) {
  const key = `polls/${a.id}/${s.id}`;
  const all = app.ui.get(key) ?? false;
  const newest = s.polls.toReversed();
  if (!newest.length) return h("p", { class: "muted" }, "Not polled yet.");
  return h("div", {},
    h("table", { role: "table" }, h("caption", {}, `The last polls of ${s.name}, the newest first`),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ["Time", "Outcome", "Took", "Answer"].map((name) => h("th", { scope: "col", role: "columnheader", key: name }, name)))),
      h("tbody", { role: "rowgroup" }, newest.slice(0, all ? newest.length : shownPolls).map((p) => h("tr", { key: p.at, role: "row" },
        h("td", { role: "cell" }, time(p.at, "clock")),
        h("td", { role: "cell" }, pill(kind(p.outcome), p.outcome === "ok" ? "read" : words(p.outcome))),
        h("td", { role: "cell" }, milliseconds(p.ms)),
        h("td", { class: "answer", role: "cell" }, p.text))))),
    newest.length > shownPolls ? h("button", { type: "button", class: "small quiet", "aria-expanded": String(all), onclick: () => app.set(key, all ? undefined : true) }, all ? "Show fewer polls" : `Show all ${newest.length} polls`) : null);
}
