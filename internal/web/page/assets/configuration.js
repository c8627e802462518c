// The configuration in use, its problems, and forms that add to the file.

import { withoutCommand } from "./attention.js";
import { calendarsOff } from "./calendars.js";
import { h } from "./dom.js";
import { capital, time } from "./format.js";
import { described, icon, note } from "./parts.js";

export function configuration(app) {
  const c = app.state.configuration;
  loadKinds(app);
  return h("section", { id: "configuration", key: "configuration", "aria-labelledby": "configuration-title" },
    h("h2", { id: "configuration-title" }, "Configuration"),
    h("div", { class: "card" },
      c.problems.length ? h("div", { class: "note bad", key: "problems" }, icon("warning"), h("div", {}, h("strong", {}, app.state.setup ? "The configuration cannot be used:" : "Problems:"), problems(c.problems))) : null,
      c.restart.length ? note("warn", `Changed, but in use only after a restart: ${c.restart.join(", ")}.`) : null,
      c.warnings.map((w) => note("warn", capital(w))),
      app.state.setup ? accountForm(app, true) : [
        h("p", { key: "file" }, c.file ? ["From ", h("code", {}, c.file), c.accounts ? [" and the files in ", h("code", {}, c.accounts)] : null, c.loaded ? [", read ", time(c.loaded, "ago")] : null, "."] : c.accounts ? ["From environment variables and the files in ", h("code", {}, c.accounts), "."] : "There is no file: the configuration comes from environment variables."),
        calendarsOff(app),
        h("details", { key: "running" }, h("summary", {}, "Show the configuration in use, without secrets"),
          h("pre", { tabindex: "0", role: "region", "aria-label": "Configuration in use" }, c.running)),
        h("details", { key: "account" }, h("summary", {}, "Add an account"), accountForm(app, false)),
        h("details", { key: "sensor", ontoggle: (e) => app.set("sensor-form", e.target.open) }, h("summary", {}, "Add a sensor"), sensorForm(app)),
      ]));
}

function problems(all) {
  return h("ul", {}, all.map((p) => h("li", { key: `${p.path} ${p.message}` }, p.path ? [h("code", {}, p.path), p.file ? ` (${p.file}${p.line ? `, line ${p.line}` : ""})` : p.line ? ` (line ${p.line})` : null, p.message.startsWith("is ") ? " " : ": "] : p.line ? `Line ${p.line}: ` : null, p.message)));
}

// loadKinds loads the types of sensors once.
function loadKinds(app) {
  if (app.kinds || app.loadingKinds) return;
  app.loadingKinds = true;
  app.get("api/form").then(({ kinds }) => {
    app.kinds = kinds;
    app.set("kinds", true);
  }, () => {
    app.loadingKinds = false; // with the next snapshot again
  });
}

function field(id, name, label, help, props = {}) {
  const { initial, ...attributes } = props;
  return h("div", { class: "field", key: id }, h("label", { for: id }, label),
    h("input", { id, name, autocomplete: "off", spellcheck: "false", "aria-describedby": help ? `${id}-help` : undefined, initial: initial ? { value: initial } : undefined, ...attributes }),
    help ? h("p", { class: "muted", id: `${id}-help` }, described(help)) : null);
}

function checkbox(id, name, label, checked) {
  return h("label", { class: "check", key: id }, h("input", { type: "checkbox", id, name, initial: { checked } }), h("span", {}, label));
}

const byDefault = ["calendar", "auto_reply"];

function accountForm(app, first) {
  const known = app.state.configuration.broker;
  const kinds = (app.kinds ?? []).filter((k) => !k.fields.some((f) => f.required));
  const read = (data) => ({
    ...(first && data.has("calendars") ? { calendars: true } : {}),
    ...(first && text(data, "url") ? { broker: trimmed(data, ["url", "username", "password"]) } : {}),
    account: text(data, "account"),
    new_account: { ...trimmed(data, ["client_id", "tenant"]), enable_update: data.has("enable_update") },
    sensors: kinds.filter((k) => data.has(`sensor-${k.name}`)).map((k) => ({ id: k.id, type: k.name, ...(k.own_updates && data.has("enable_update") && k.can_update ? { enable_update: true } : {}) })),
  });
  return form(app, first ? "first" : "account", read, [
    first ? h("fieldset", { key: "broker" }, h("legend", {}, "MQTT broker"),
      h("div", { class: "fields" },
        field("broker-url", "url", "Address", known ? `Empty: ${known} is used.` : "Such as mqtt://192.168.1.10:1883, or mqtt://core-mosquitto:1883 in Home Assistant.", { required: !known, inputmode: "url" }),
        field("broker-username", "username", "User name", "If the broker asks for one."),
        field("broker-password", "password", "Password", "It is written to the file.", { type: "password", autocomplete: "new-password" }))) : null,
    h("fieldset", { key: "account" }, h("legend", {}, "Microsoft 365 account"),
      h("div", { class: "fields" },
        field("account-id", "account", "Id", "Letters a to z, digits and _. It is part of every topic.", { required: true, pattern: "[a-z0-9_]{1,64}", initial: first ? "work" : undefined }),
        field("account-client", "client_id", "Application (client) id", "From the app registration in Entra ID.", { required: true, class: "id", placeholder: "2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21" }),
        field("account-tenant", "tenant", "Tenant", "common, organizations, consumers, or the id or domain of a tenant.", { initial: "common" })),
      checkbox("account-update", "enable_update", "Allow changes, such as creating events", false)),
    h("fieldset", { key: "sensors" }, h("legend", {}, "Sensors"), h("div", { class: "checks" }, kinds.map((k) => checkbox(`sensor-${k.name}`, `sensor-${k.name}`, k.title + (k.work_only ? " (work only)" : ""), byDefault.includes(k.name))))),
    first ? h("fieldset", { key: "calendars" }, h("legend", {}, "Home Assistant"),
      checkbox("account-calendars", "calendars", "Also show calendars and task lists as calendars and to-do lists of Home Assistant (CalDAV)", false)) : null,
  ]);
}

function sensorForm(app) {
  const kinds = app.kinds ?? [];
  const chosen = kinds.find((k) => k.name === app.ui.get("sensor-type")) ?? kinds[0];
  const all = app.state.accounts.filter((a) => !a.application); // the form adds below accounts only
  const account = all.find((a) => a.id === app.ui.get("sensor-account")) ?? all[0];
  if (!account) return h("p", { class: "muted" }, "Add sensors of an organization in the configuration file.");
  if (!chosen) return h("p", { class: "muted" }, "Loading …");
  const read = (data) => ({
    account: text(data, "account"),
    sensors: [{
      id: text(data, "id"), type: chosen.name, ...(data.has("enable_update") ? { enable_update: true } : {}),
      options: Object.fromEntries(chosen.fields.map((f) => [f.key, text(data, `option-${f.key}`)]).filter(([, value]) => value)),
    }],
  });
  return form(app, "sensor", read, [
    h("div", { class: "fields", key: "fields" },
      select("sensor-account", "account", "Account", all.map((a) => [a.id, a.name]), (e) => app.set("sensor-account", e.target.value)),
      select("sensor-kind", "type", "Type", kinds.map((k) => [k.name, k.title]), (e) => app.set("sensor-type", e.target.value)),
      field("sensor-id", "id", "Id", "Letters a to z, digits and _. It is part of every topic.", { required: true, pattern: "[a-z0-9_]{1,64}" }),
      choice(app, account, chosen),
      chosen.fields.map((f) => field(`sensor-option-${chosen.name}-${f.key}`, `option-${f.key}`, capital(f.key.replaceAll("_", " ")), f.doc, { required: f.required, placeholder: f.example || undefined }))),
    chosen.can_update ? checkbox(`sensor-update-${chosen.name}`, "enable_update", "Allow changes", false) : null,
    h("p", { class: "muted", key: "doc" }, described(chosen.doc)),
  ]);
}

// choice offers what Microsoft has for a sensor of the type, and fills in the fields below it. Without an answer they are filled in by hand.
function choice(app, account, kind) {
  if (!kind.candidates || !app.ui.get("sensor-form") || account.state !== "signed_in") return null;
  const key = `${account.id}/${kind.name}`;
  const found = candidates(app, account, kind, key);
  if (found.error) return h("p", { class: "muted", key: "choice-error" }, `The choices cannot be listed. ${withoutCommand(found.error)}.`);
  const fill = (e) => {
    const chosen = found.all[e.target.selectedIndex - 1];
    for (const f of kind.fields) document.getElementById(`sensor-option-${kind.name}-${f.key}`).value = chosen?.options[f.key] ?? "";
    const id = document.getElementById("sensor-id");
    if (chosen && (!id.value || found.all.some((c) => c.id === id.value))) id.value = chosen.id;
  };
  return h("div", { class: "field", key: `choice-${key}` }, h("label", { for: "sensor-choice" }, "Choice"),
    h("select", { id: "sensor-choice", onchange: fill },
      h("option", { value: "", key: "none" }, found.all ? "Fill in the fields by hand" : "Loading …"),
      (found.all ?? []).map((c, i) => h("option", { value: String(i), key: String(i) }, c.note ? `${c.name} (${c.note})` : c.name))));
}

// candidates asks once for what a sensor of the type can be configured for.
function candidates(app, account, kind, key) {
  app.candidates ??= new Map();
  if (!app.candidates.has(key)) {
    app.candidates.set(key, {});
    const answered = (found) => {
      app.candidates.set(key, found);
      app.set("candidates", key);
    };
    app.act("candidates", account.id, { type: kind.name }).then(({ data }) => answered(data.missing ? { error: data.missing } : { all: data.candidates }), (error) => answered({ error: error.message }));
  }
  return app.candidates.get(key);
}

function select(id, name, label, options, onchange) {
  return h("div", { class: "field", key: id }, h("label", { for: id }, label), h("select", { id, name, onchange }, options.map(([value, shown]) => h("option", { value, key: value }, shown))));
}

const text = (data, name) => (data.get(name) ?? "").trim();

function trimmed(data, names) {
  return Object.fromEntries(names.map((name) => [name, name === "password" ? data.get(name) ?? "" : text(data, name)]).filter(([, value]) => value));
}

// form is a form that shows the lines before it writes them.
function form(app, key, read, content) {
  const at = `form/${key}`;
  const draft = app.ui.get(at);
  const result = app.results.get(at);
  const preview = (event) => {
    event.preventDefault();
    const asked = read(new FormData(event.target));
    app.run(at, async () => {
      app.ui.delete(at);
      app.ui.set(at, { asked, ...(await app.post("api/configuration/preview", asked)) });
      return "These lines will be added.";
    });
  };
  const write = () => app.run(at, async () => {
    try {
      await app.post("api/configuration/write", { form: draft.asked, digest: draft.digest });
    } catch (error) {
      if (error.byHand) app.ui.set(at, { ...draft, by_hand: error.message });
      else app.ui.delete(at);
      throw error;
    }
    app.ui.delete(at);
    return "Written. It takes effect within a few seconds.";
  });
  const outdated = () => {
    if (app.ui.has(at) || app.results.has(at)) {
      app.results.delete(at);
      app.set(at);
    }
  };
  return h("form", { onsubmit: preview, oninput: outdated, class: "form", "aria-busy": app.busy.has(at) ? "true" : undefined }, content,
    h("div", { class: "actions", key: "actions" }, h("button", { type: "submit", class: draft ? "" : "primary" }, "Show the lines")),
    result && !result.ok ? h("div", { class: "note bad", key: "error" }, icon("warning"), h("div", {}, result.error.problems?.length ? [h("strong", {}, "Please correct:"), problems(result.error.problems)] : result.text)) : null,
    result?.ok && !draft ? note("ok", result.text) : null,
    draft ? h("div", { class: "draft", key: "draft" },
      h("p", {}, draft.by_hand ? "Add these lines to " : "These lines will be added to ", h("code", {}, draft.file), draft.by_hand ? [" by hand: ", draft.by_hand, "."] : ":"),
      h("pre", { tabindex: "0", role: "region", "aria-label": "Lines to add" }, draft.lines),
      draft.password ? h("p", { class: "muted" }, "The password is hidden here.") : null,
      draft.by_hand ? null : h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: write }, "Write to the file"))) : null);
}
