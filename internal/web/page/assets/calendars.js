// The credentials with which Home Assistant reads calendars and task lists over CalDAV.

import { h } from "./dom.js";
import { time } from "./format.js";
import { button, copyField, docs, note, outcome } from "./parts.js";

const loopback = /^https?:\/\/(127\.|localhost\b|\[::1\])/;

export function calendars(app) {
  const c = app.state.calendars;
  if (!c) return null;
  return h("section", { id: "calendars", key: "calendars", "aria-labelledby": "calendars-title" },
    h("h2", { id: "calendars-title" }, "Calendars in Home Assistant"),
    h("div", { class: "card" },
      h("p", {}, "Open ", h("strong", {}, "Settings"), ", ", h("strong", {}, "Devices & services"), ", ", h("strong", {}, "Add integration"), ", ", h("strong", {}, "CalDAV"), ", and paste:"),
      copyField("calendars-url", "URL", c.url, { announce: app.announce }),
      loopback.test(c.url) ? note("warn", "This URL works on this machine only. For Home Assistant on another machine, open this page at an address that Home Assistant can reach: ", docs("http.md", "set http.listen and a password"), ".") : null,
      c.accounts.map((a) => credentials(app, a))));
}

// calendarsOff tells how to get them.
export function calendarsOff(app) {
  if (app.state.calendars) return null;
  return h("p", { class: "muted", key: "calendars-off" }, "To show calendars and task lists as calendars and to-do lists of Home Assistant, set ", h("code", {}, "http.calendars: true"), " in the file, and ",
    h("code", {}, "on_demand: true"), " for the sensors: ", docs("calendars.md", "native calendars"), ".");
}

function credentials(app, a) {
  const key = `password/${a.account}`;
  const made = app.ui.get(`${key}/made`);
  const renew = () => app.run(key, async () => {
    const { password } = await app.post("api/calendars/password", { account: a.account });
    app.ui.set(`${key}/made`, password);
    app.ui.delete(`${key}/ask`);
    return `${a.name}: there is a new password. It is shown only now.`;
  });
  return h("div", { class: "credentials", key: a.account }, h("h3", {}, a.name),
    copyField(`calendars-user-${a.account}`, `User name of ${a.name}`, a.account, { announce: app.announce }),
    made ? copyField(`calendars-password-${a.account}`, `Password of ${a.name}`, made, { announce: app.announce }) : null,
    a.last_used ? note("ok", "Last read ", time(a.last_used, "ago"), ".") : h("p", { class: "muted" }, a.created ? ["Not read since the start. The password was created ", time(a.created), "."] : "There is no password yet."),
    h("div", { class: "actions" },
      app.ui.get(`${key}/ask`) ? h("span", { class: "confirm", key: "confirm" }, "The current password will no longer be accepted.",
        button(app, key, "Replace it", { kind: "danger", name: `Replace it: password of ${a.name}`, action: async () => renew() }),
        h("button", { type: "button", class: "quiet", onclick: () => app.set(`${key}/ask`) }, "Keep it"))
        : h("button", { type: "button", key: "make", "aria-label": `${a.created ? "New password" : "Create a password"}: ${a.name}`, onclick: () => (a.created ? app.set(`${key}/ask`, true) : renew()) }, a.created ? "New password" : "Create a password")),
    outcome(app.results.get(key)));
}
