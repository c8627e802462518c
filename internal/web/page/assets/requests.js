// The newest requests and their outcomes.

import { h } from "./dom.js";
import { capital, time, words } from "./format.js";
import { pill } from "./parts.js";

export function requests(app) {
  const all = app.state.requests;
  return h("section", { id: "requests", key: "requests", "aria-labelledby": "requests-title" },
    h("h2", { id: "requests-title" }, "Requests"),
    all.length ? h("ul", { class: "card flush requests" }, all.map(request)) : h("p", { class: "card muted" }, "No requests yet."));
}

function request(r) {
  return h("li", { key: `${r.received}/${r.account}/${r.sensor}/${r.operation}` },
    h("span", { class: "result" }, outcome(r)),
    h("div", { class: "grow" }, h("strong", {}, capital(words(r.operation))), h("span", { class: "muted" }, [r.account, r.sensor].filter(Boolean).join(" · ")),
      r.message ? h("p", {}, capital(r.message)) : null, r.advice ? h("p", { class: "muted" }, r.advice) : null),
    h("span", { class: "muted" }, time(r.received)));
}

function outcome(r) {
  switch (r.outcome) {
    case "ok":
      return pill("ok", "done");
    case "waiting":
      return pill("off", "waiting");
    case "in_doubt":
      return pill("warn", "in doubt");
  }
  return pill("bad", words(r.outcome));
}
