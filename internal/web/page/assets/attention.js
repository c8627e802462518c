// Accounts that need a sign-in.

import { h } from "./dom.js";
import { capital, time } from "./format.js";
import { button, copyField, icon, note, outcome } from "./parts.js";

const messages = {
  signed_out: "No user is signed in.",
  sign_in_required: "Microsoft requires you to sign in again.",
  unreadable: "The stored sign-in cannot be read.",
};

// withoutCommand removes the advice to use the command line, because this page does the same.
export function withoutCommand(message) {
  return capital(message.replace(/; run: graph2mqtt login \S+$/, ""));
}

// needsSignIn reports whether an account waits for a user. Of an account that is not reachable that is not known.
export function needsSignIn(a) {
  return (a.state !== "signed_in" && a.state !== "unreachable") || a.sign_in;
}

export function attention(app) {
  return app.state.accounts.filter(needsSignIn).map((a) => a.application ? refusedCard(a) : signInCard(app, a));
}

// refusedCard shows why an organization, which signs in by itself, is refused.
function refusedCard(a) {
  const id = `sign-in-${a.id}`;
  return h("section", { class: "card call", key: id, id, "aria-labelledby": `${id}-title` },
    h("div", { class: "head" }, h("span", { class: "badge" }, icon("key")),
      h("div", {}, h("h2", { id: `${id}-title` }, `Microsoft refuses ${a.name}`), h("p", { class: "muted" }, capital(a.message)))));
}

// signInCard shows how to sign in to an account.
export function signInCard(app, a) {
  const id = `sign-in-${a.id}`;
  return h("section", { class: "card call", key: id, id, "aria-labelledby": `${id}-title` },
    h("div", { class: "head" }, h("span", { class: "badge" }, icon("key")),
      h("div", {}, h("h2", { id: `${id}-title` }, `Sign in to ${a.name}`),
        h("p", { class: "muted" }, a.message ? withoutCommand(a.message) : messages[a.state] ?? "This grants the permissions that the configuration asks for."),
        a.expected ? h("p", { class: "muted", key: "expected" }, "Sign in as ", h("strong", {}, a.expected), ". Other users are refused.") : null)),
    a.sign_in?.why ? note("warn", `Microsoft refused ${a.sign_in.refused.join(", ")}: ${a.sign_in.why}. Continue without ${a.sign_in.refused.length > 1 ? "them" : "it"}:`) : null,
    !a.sign_in ? ways(app, a) : a.sign_in.browser ? byLink(app, a, id) : byCode(app, a, id),
    outcome(app.results.get(`sign-in/${a.id}`)));
}

function ways(app, a) {
  const start = (way) => () => app.act("sign_in", a.id, { way }).then(() => undefined);
  return h("div", { key: "ways" },
    h("div", { class: "actions" },
      button(app, `sign-in/${a.id}`, "Sign in with a link", { kind: "primary", name: `Sign in with a link: ${a.name}`, action: start("browser") }),
      button(app, `sign-in/${a.id}`, "Sign in with a code", { name: `Sign in with a code: ${a.name}`, action: start("device_code") })),
    h("p", { class: "muted" }, "You can enter a code in any browser, but some organizations block codes. A link always works, but you may have to paste an address here afterwards."));
}

function byCode(app, a, id) {
  const s = a.sign_in;
  return h("div", { key: "code" },
    h("ol", { class: "steps" },
      h("li", {}, h("p", {}, "Open Microsoft’s page"), h("p", {}, link(s.url, s.url.replace(/^https?:\/\//, "")))),
      h("li", {}, h("div", { class: "code" }, copyField(`${id}-code`, "Enter this code there", s.code, { announce: app.announce }),
        s.expires ? h("p", { class: "muted" }, "before ", time(s.expires, "short"), ", ", time(s.expires, "left")) : null)),
      h("li", {}, h("p", {}, "This page continues by itself"), h("p", { class: "muted wait" }, h("span", { class: "spinner", "aria-hidden": "true" }), "Waiting for your sign-in"))),
    h("div", { class: "actions" }, other(app, a, "browser", "Use a link instead")));
}

function byLink(app, a, id) {
  const s = a.sign_in;
  const paste = async (event) => {
    event.preventDefault();
    const field = event.target.elements.address;
    const address = field.value.trim();
    await app.run(`sign-in/${a.id}`, async () => {
      if (!address) throw new Error("paste the address first");
      await app.act("sign_in", a.id, { address });
      field.value = "";
    });
  };
  const begins = h("code", {}, s.redirect);
  return h("div", { key: "link" },
    h("ol", { class: "steps two" },
      h("li", {}, h("p", {}, "Open Microsoft’s page and sign in"), h("p", {}, link(s.url, "Sign in at Microsoft")),
        copyField(`${id}-link`, "Or open this link on another device", s.url, { announce: app.announce })),
      h("li", {},
        h("p", {}, s.listening ? ["On the machine of graph2mqtt this page continues by itself. Elsewhere the browser ends on an address that begins with ", begins, " and fails to load: copy it from the address bar."] : ["The browser ends on an address that begins with ", begins, ": copy it from the address bar."]),
        h("form", { onsubmit: paste, class: "copy" },
          h("label", { for: `${id}-address` }, "Paste that address here"),
          h("div", { class: "row" },
            h("input", { id: `${id}-address`, name: "address", class: "mono", autocomplete: "off", spellcheck: "false", inputmode: "url" }),
            h("button", { type: "submit", "aria-disabled": app.busy.has(`sign-in/${a.id}`) ? "true" : undefined }, "Continue"))),
        s.note ? h("p", { class: "muted" }, `${s.note}.`) : null)),
    h("div", { class: "actions" }, other(app, a, "device_code", "Use a code instead")));
}

function other(app, a, way, label) {
  return button(app, `sign-in/${a.id}`, label, { kind: "quiet", action: () => app.act("sign_in", a.id, { way }).then(() => undefined) });
}

function link(url, text) {
  return h("a", { class: "button primary", href: url, target: "_blank", rel: "noopener noreferrer" }, icon("open"), text);
}
