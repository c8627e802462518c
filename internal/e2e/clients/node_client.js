// MSAL for Node.js and Microsoft's Graph client for JavaScript.
//
// node_client.js SIMULATION.json   the output of graph2mqtt simulate --json
//
// Needs NODE_EXTRA_CA_CERTS. Prints nothing if the simulator behaves like Microsoft.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const msal = require("@azure/msal-node");
const { Client } = require("@microsoft/microsoft-graph-client");

const simulation = JSON.parse(fs.readFileSync(process.argv[2]));
const start = { dateTime: "2030-06-01T10:00:00", timeZone: "UTC" };
const end = { dateTime: "2030-06-01T11:00:00", timeZone: "UTC" };

async function main() {
  const app = new msal.PublicClientApplication({
    auth: { clientId: simulation.client_id, authority: simulation.login + "/common", knownAuthorities: [new URL(simulation.login).host] },
  });
  const approve = async ({ userCode }) => {
    const answer = await fetch(`${simulation.control}/devices/${userCode}/approve`, { method: "POST" });
    assert.equal(answer.status, 204);
  };
  const signedIn = await app.acquireTokenByDeviceCode({ scopes: ["User.Read", "Calendars.ReadWrite"], deviceCodeCallback: approve });
  assert.equal(signedIn.account.username, "adele@contoso.example");
  const [account] = await app.getTokenCache().getAllAccounts();
  const renewed = await app.acquireTokenSilent({ account, scopes: ["User.Read"], forceRefresh: true });
  assert.notEqual(renewed.accessToken, signedIn.accessToken);

  const graph = Client.init({
    baseUrl: simulation.graph + "/",
    customHosts: new Set([new URL(simulation.graph).hostname]),
    authProvider: (done) => done(null, renewed.accessToken),
  });
  assert.equal((await graph.api("/me").get()).displayName, "Adele Vance");
  const event = await graph.api("/me/events").post({ subject: "Planning", start, end });
  const batch = await graph.api("/$batch").post({
    requests: [
      { id: "1", method: "GET", url: "/me" },
      { id: "2", method: "GET", url: "/me/events?$top=1&$select=subject" },
    ],
  });
  assert.deepEqual(batch.responses.map((r) => r.status), [200, 200]);
  const found = await graph.api("/me/events").filter("subject eq 'Planning'").select("subject").orderby("start/dateTime DESC").get();
  assert.deepEqual(found.value.map((e) => e.id), [event.id]);
  await graph.api("/me/events/" + event.id).delete();
  await assert.rejects(graph.api("/me/events/" + event.id).get(), { statusCode: 404, code: "ErrorItemNotFound" });
  await assert.rejects(graph.api("/me/mailboxSettings").get(), { statusCode: 403, code: "ErrorAccessDenied" });
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
