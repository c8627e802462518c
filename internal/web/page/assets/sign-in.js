// The page of a sign-in link. It shows only the sign-in of one account.

import { answer, get, post } from "./api.js";
import { signInCard } from "./attention.js";
import { h, render } from "./dom.js";
import { capital, setClock, tick, time } from "./format.js";
import { failureText, icon, note } from "./parts.js";

const pollInterval = 2000;

// The secret is the fragment of the address, which browsers send to no server.
const secret = location.hash.slice(1);
const headers = { Authorization: `Bearer ${secret}` };

const app = {
  state: null,
  problem: null, // why there is no state
  busy: new Set(),
  results: new Map(),

  async run(key, action) {
    app.busy.add(key);
    app.results.delete(key);
    update();
    try {
      await action();
    } catch (error) {
      if (error.status === 401) end(error);
      const text = failureText(error);
      app.results.set(key, { ok: false, text, error });
      app.announce(text);
    }
    app.busy.delete(key);
    update();
  },

  async act(_operation, _account, fields) {
    const result = await post("api/actions", fields, headers);
    await load();
    return result;
  },

  announce(text) {
    document.getElementById("announcements").textContent = text;
  },
};

let ended = false;

// end shows that the link is invalid or no longer valid.
function end(error) {
  ended = true;
  app.state = null;
  app.problem = capital(error.message);
}

function update() {
  render(document.getElementById("content"), content());
  tick(document);
}

function content() {
  const s = app.state;
  if (app.problem && !s) return h("section", { class: "card", key: "problem" }, note("bad", `${app.problem}.`));
  if (!s) return h("p", { class: "card", key: "loading" }, "Loading …");
  if (s.done) {
    return h("section", { class: "card", key: "done" }, h("div", { class: "head" }, h("span", { class: "badge" }, icon("check")),
      h("div", {}, h("h2", {}, "Signed in"), h("p", { class: "muted" }, s.user ? `${s.name} is signed in as ${s.user}. You can close this page.` : "You can close this page."))));
  }
  const a = { id: "link", name: s.name, expected: s.expected, message: s.message, state: s.state, sign_in: s.sign_in };
  return [signInCard(app, a), h("p", { class: "muted", key: "expires" }, "This link is valid until ", time(s.expires), ", for one sign-in."),
    app.problem ? note("bad", `${app.problem}.`) : null];
}

async function load() {
  const state = await answer(await get("api/state", undefined, headers));
  const before = app.state;
  app.state = state;
  app.problem = null;
  setClock(state.time);
  if (state.done) {
    ended = true;
    history.replaceState(null, "", location.pathname); // the link is no longer valid
    if (!before?.done) app.announce("Signed in");
  }
  update();
}

async function follow() {
  while (!ended) {
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    try {
      await load();
    } catch (error) {
      if (error.status === 401) end(error);
      else app.problem = capital(error.message);
      update();
    }
    if (!ended) await new Promise((done) => setTimeout(done, pollInterval));
  }
}

addEventListener("hashchange", () => location.reload());
setInterval(() => tick(document), 1000);
if (secret) follow();
else {
  end({ message: "This address is not complete: open the whole link that you were given" });
  update();
}
