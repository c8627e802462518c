// Requests to the program. All addresses are relative: Home Assistant serves the page below a path of its own.

export class Failure extends Error {
  constructor(error, status) {
    super(error.message);
    this.code = error.code;
    this.retryAfter = error.retry_after;
    this.problems = error.problems ?? [];
    this.byHand = error.by_hand ?? false;
    this.status = status;
  }
}

export async function post(path, body, headers = {}) {
  return answer(await send(path, {
    method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body), cache: "no-store", credentials: "same-origin",
  }));
}

export async function get(path, signal, headers = {}) {
  return send(path, { headers, cache: "no-store", credentials: "same-origin", signal });
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure({ code: "network", message: "graph2mqtt cannot be reached" }, 0);
  }
}

// answer returns the content of an answer, or throws its error.
export async function answer(response) {
  let content = null;
  try {
    content = await response.json();
  } catch {
    // Not from this program, or refused before it reached the page.
  }
  if (response.ok && content !== null) return content;
  throw new Failure(content?.error ?? { code: "internal", message: refusal(response) }, response.status);
}

function refusal(response) {
  switch (response.status) {
    case 401:
      return "The password was changed. Load this page again.";
    case 403:
    case 421:
      return "graph2mqtt does not accept this address. Open the page at another one.";
    case 413:
      return "The text is too long.";
    case 429:
      return "Too many wrong passwords. Try again in a minute.";
  }
  return `graph2mqtt answered ${response.status}`;
}
