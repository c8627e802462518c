// Accounts: who is signed in, and what Microsoft granted.

import { withoutCommand } from "./attention.js";
import { h } from "./dom.js";
import { capital, time, words } from "./format.js";
import { button, copyField, icon, note, outcome, pill } from "./parts.js";

const states = {
  signed_in: ["ok", "Signed in"], signed_out: ["warn", "Signed out"], sign_in_required: ["warn", "Sign-in needed"], unreadable: ["bad", "Sign-in unreadable"],
  unreachable: ["bad", "Not reachable"],
};

const tenants = { common: "any account", organizations: "work or school accounts", consumers: "personal accounts" };

export function accounts(app) {
  return h("section", { id: "accounts", key: "accounts", "aria-labelledby": "accounts-title" },
    h("h2", { id: "accounts-title" }, "Accounts"),
    h("div", { class: "grid" }, app.state.accounts.map((a) => card(app, a))));
}

function card(app, a) {
  const id = `account-${a.id}`;
  const [kind, state] = states[a.state] ?? ["warn", capital(words(a.state))];
  const who = [a.user_name, a.user].filter(Boolean).join(" · ") || (a.application ? "organization, signs in by itself" : a.state === "unreachable" ? "Not known" : "Not signed in");
  const missing = a.state === "signed_in" ? a.permissions.filter((p) => !p.granted && !p.unavailable) : [];
  const names = new Map(a.sensors.map((s) => [s.id, s.name]));
  return h("article", { class: "card", key: a.id, "aria-labelledby": id },
    h("div", { class: "head" }, h("div", { class: "grow" }, h("h3", { id }, a.name), h("p", { class: "muted" }, who)), pill(kind, state)),
    h("dl", { class: "facts" },
      a.tenant ? fact("Tenant", tenants[a.tenant] ?? a.tenant) : null,
      a.signed_in ? fact("Signed in", time(a.signed_in, "day"), a.expires ? [", lasts until ", time(a.expires, "day"), " if unused"] : null) : null,
      a.state === "unreachable" ? null : fact("Last read", a.last_read ? time(a.last_read, "ago") : "never")),
    a.error ? note("bad", withoutCommand(a.error)) : null,
    a.waits_until ? note("warn", "Throttled by Microsoft until ", time(a.waits_until), ".") : null,
    a.problems.map((p) => note("bad", `${p.sensor ? `${p.sensor}: ` : ""}${withoutCommand(p.message)}`)),
    a.permissions.length ? permissions(a, names) : null,
    missing.length && a.consent_link ? copyField(`${id}-consent`, "Link with which an administrator grants all permissions", a.consent_link, { announce: app.announce }) : null,
    a.application || a.state === "unreachable" ? null : h("div", { class: "actions" },
      a.state === "signed_in" ? [
        button(app, `sign-in/${a.id}`, missing.length ? "Sign in again to grant them" : "Sign in again", { name: `${missing.length ? "Sign in again to grant them" : "Sign in again"}: ${a.name}`, action: () => app.act("sign_in", a.id, { way: "browser" }).then(() => undefined) }),
        signOut(app, a),
      ] : h("a", { class: "button primary", href: `#sign-in-${a.id}` }, "Sign in")),
    a.application ? null : signInLink(app, a),
    outcome(app.results.get(`sign-out/${a.id}`)),
    a.sign_in ? null : outcome(app.results.get(`sign-in/${a.id}`)));
}

// signInLink creates a link to a page that shows nothing but the sign-in of this account.
function signInLink(app, a) {
  const key = `link/${a.id}`;
  const made = app.ui.get(key);
  const make = async () => {
    app.set(key, await app.post("api/links", { account: a.id }));
    return `${a.name}: the link is shown only now. Earlier links are no longer valid.`;
  };
  return h("details", { key: "link" }, h("summary", {}, "Create a sign-in link"),
    h("p", { class: "muted" }, "Another person can sign in to this account with the link, once, within a week. They see no other account. ",
      a.expected ? ["Only ", h("strong", {}, a.expected), " is accepted."] : "Anyone who has the link can sign in, as any user. To accept only one user, set user in the configuration."),
    made ? [copyField(`${key}-url`, `Sign-in link of ${a.name}`, made.url, { secret: true, announce: app.announce }), h("p", { class: "muted" }, "The link is valid until ", time(made.expires), ".")] : null,
    h("div", { class: "actions" }, button(app, key, made ? "Create another link" : "Create a link", { name: `${made ? "Create another link" : "Create a link"}: ${a.name}`, action: make })),
    outcome(app.results.get(key)));
}

function fact(name, ...content) {
  return h("div", { key: name }, h("dt", {}, name), h("dd", {}, ...content));
}

function signOut(app, a) {
  const key = `sign-out/${a.id}`;
  if (!app.ui.get(key)) return h("button", { type: "button", class: "quiet", key: "ask", "aria-label": `Sign out: ${a.name}`, onclick: () => app.set(key, true) }, "Sign out");
  const end = (then) => () => {
    app.set(key);
    then?.();
  };
  return h("span", { class: "confirm", key: "confirm" }, "Its entities become unavailable.",
    h("button", { type: "button", class: "danger", onclick: end(() => app.run(key, async () => (await app.act("sign_out", a.id)).data.message + ".")) }, "Sign out now"),
    h("button", { type: "button", class: "quiet", onclick: end() }, "Stay signed in"));
}

function permissions(a, names) {
  return h("div", { key: "permissions" }, h("h4", {}, "Permissions"),
    h("ul", { class: "permissions" }, a.permissions.map((p) => permission(a, p, names))));
}

function permission(a, p, names) {
  const of = p.sensors.map((id) => names.get(id) ?? id).join(", ");
  const scope = h("code", {}, p.scope);
  if (a.state !== "signed_in") return h("li", { key: p.scope, class: "open" }, icon("key"), h("span", {}, scope, " ", h("span", { class: "muted" }, p.purpose)));
  if (p.granted) return h("li", { key: p.scope, class: "ok" }, icon("check"), h("span", {}, scope, " ", h("span", { class: "muted" }, `granted: ${p.purpose}`)));
  const why = p.unavailable ? "personal accounts do not have it" : p.restricted ? "missing, an administrator must grant it" : "missing";
  return h("li", { key: p.scope, class: "warn" }, icon("warning"), h("span", {}, scope, " ", h("span", {}, `${why}: ${of ? `${of}: ` : ""}${p.impact}`)));
}
