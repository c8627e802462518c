// The status page: one snapshot of everything by long poll, and the actions behind the buttons.

import { accounts } from "./accounts.js";
import { answer, get, post } from "./api.js";
import { attention, needsSignIn } from "./attention.js";
import { calendars } from "./calendars.js";
import { configuration } from "./configuration.js";
import { h, render } from "./dom.js";
import { capital, count, setClock, tick, time } from "./format.js";
import { docs, failureText, note } from "./parts.js";
import { requests } from "./requests.js";
import { sensors } from "./sensors.js";

const retryMin = 1000;
const retryMax = 15000;

// app is what the sections get: the snapshot, what the user has done on the page, and how to do something.
const app = {
  state: null,
  busy: new Set(), // keys of actions that run
  results: new Map(), // how actions ended, by key
  ui: new Map(), // what is shown or asked, by key

  // run runs an action, and shows how it ended.
  async run(key, action) {
    app.busy.add(key);
    app.results.delete(key);
    update();
    try {
      const text = await action();
      if (text) app.results.set(key, { ok: true, text });
      if (text) app.announce(text);
    } catch (error) {
      const text = failureText(error);
      app.results.set(key, { ok: false, text, error });
      app.announce(text);
    }
    app.busy.delete(key);
    update();
  },

  act: (operation, account, fields = {}) => post("api/actions", { operation, ...(account ? { account } : {}), ...fields }),
  post,
  get: async (path) => answer(await get(path)),

  set(key, value) {
    if (value === undefined) app.ui.delete(key);
    else app.ui.set(key, value);
    update();
  },

  // announce says something to people who do not see the page.
  announce(text) {
    document.getElementById("announcements").textContent = text;
  },
};

function update() {
  const { state } = app;
  if (!state) return;
  const sections = state.setup ? [] : [["accounts", "Accounts"], ["sensors", "Sensors"], ["requests", "Requests"]];
  if (state.calendars) sections.push(["calendars", "Calendars"]);
  sections.push(["configuration", "Configuration"]);
  render(document.getElementById("nav"), sections.map(([id, name]) => h("a", { href: `#${id}`, key: id }, name)));
  render(document.getElementById("content"),
    state.setup ? welcome() : [problems(state), glance(state), attention(app), accounts(app), sensors(app), h("div", { class: "columns", key: "columns" }, requests(app), calendars(app))],
    configuration(app));
  render(document.getElementById("footer"), footer(state));
  const waiting = state.accounts.filter((a) => a.state !== "signed_in").length; // also those that are not reachable
  document.title = waiting ? `${count(waiting, "account needs", "accounts need")} attention · graph2mqtt` : "graph2mqtt";
  tick(document);
}

function welcome() {
  return h("section", { class: "card call", key: "welcome", "aria-labelledby": "welcome" },
    h("h2", { id: "welcome" }, "Welcome"),
    h("p", {}, "graph2mqtt has no configuration yet. Fill in the form below. When the file is written, the program continues by itself, and you sign in here."),
    h("p", {}, "You need an MQTT broker and the id of an app registration at Microsoft: ", docs("getting-started.md#1-register-an-application", "how to register an application"), "."));
}

function glance(state) {
  const all = state.accounts.flatMap((a) => a.sensors).filter((s) => s.interval > 0);
  const current = all.filter((s) => s.available).length;
  const { broker, graph } = state.program;
  const tile = (name, kind, value, detail) => h("li", { key: name }, h("span", { class: "name" }, name), h("span", { class: `value ${kind}` }, value), h("span", { class: "muted" }, detail));
  return h("ul", { class: "tiles", key: "glance", "aria-label": "At a glance" },
    tile("Sensors", current === all.length ? "" : "warn", String(current), `of ${all.length} are current`),
    tile("Broker", broker.connected ? "ok" : "bad", broker.connected ? "Connected" : "Not connected", broker.address),
    tile("Microsoft Graph", "", count(graph.requests, "request"), `${graph.errors} failed, ${graph.waits} throttled`),
    tile("Accounts", "", String(state.accounts.filter((a) => a.state === "signed_in").length), `of ${state.accounts.length} signed in`));
}

// problems shows what concerns all accounts.
function problems(state) {
  if (!state.problems.length) return null;
  return h("section", { class: "card", key: "problems", "aria-label": "Problems" }, state.problems.map((p) => note("bad", `${capital(p.message)}.`)));
}

function footer(state) {
  return h("p", {}, h("span", {}, `graph2mqtt ${state.program.version}`), h("span", {}, "started ", time(state.program.started, "ago")),
    docs("page.md", "Documentation"));
}

// announceChanges tells about changes of sign-ins, and not about every poll.
function announceChanges(before, after) {
  for (const a of after.accounts) {
    const earlier = before?.accounts.find((b) => b.id === a.id);
    if (!earlier || earlier.state === a.state) continue;
    app.announce(a.state === "signed_in" ? `${a.name}: signed in as ${a.user}` : needsSignIn(a) ? `${a.name}: a sign-in is needed` : `${a.name}: not reachable`);
  }
}

function live(kind, text) {
  const element = document.getElementById("live");
  element.className = `live ${kind}`;
  if (element.textContent !== text) element.textContent = text;
}

// follow keeps the snapshot up to date while the page is visible.
async function follow() {
  let version = "";
  let retry = retryMin;
  for (;;) {
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    if (document.hidden) continue;
    const stop = new AbortController();
    const hide = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hide);
    try {
      const response = await get(`api/state?after=${version}`, stop.signal);
      if (response.status !== 304) {
        const snapshot = await answer(response);
        const before = app.state;
        app.state = snapshot.state;
        version = snapshot.version;
        setClock(snapshot.time);
        if (before) announceChanges(before, app.state);
        update();
      }
      live("ok", "Live");
      retry = retryMin;
    } catch (error) {
      if (error.name !== "AbortError") {
        live("bad", error.status ? capital(error.message) : "No connection; trying again");
        await new Promise((done) => setTimeout(done, retry));
        retry = Math.min(2 * retry, retryMax);
      }
    } finally {
      document.removeEventListener("visibilitychange", hide);
    }
  }
}

setInterval(() => tick(document), 1000);
follow();
