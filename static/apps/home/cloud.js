/** Her cloud, as an app sees it: what the page was given, requests with its token, and news as they happen. */

export const given = JSON.parse(document.body.dataset.cozy);
export const language = given.locale;

const opened = Date.now();

/** An address on her main host. */
export const at = (path) => `${location.protocol}//${given.domain}${path}`;

/** A request that went wrong; `status` is 0 when there was no answer. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Ask the server; the answer's body, as JSON where it is. */
export async function ask(method, path) {
  let answer;
  try {
    answer = await fetch(at(path), { method, credentials: "include", headers: headers() });
  } catch {
    throw new Refused(0, "");
  }
  const text = await answer.text();
  const body = text && /json/.test(answer.headers.get("Content-Type") ?? "") ? JSON.parse(text) : text;
  if (!answer.ok) {
    leaveIfOut(answer.status);
    throw new Refused(answer.status, body?.errors?.[0]?.detail ?? body?.error ?? "");
  }
  return body;
}

/** A request that takes long: each state is told as it comes (text/event-stream). Ends with the last one. */
export async function follow(method, path, tell) {
  const answer = await fetch(at(path), { method, credentials: "include", headers: { ...headers(), Accept: "text/event-stream" } });
  if (!answer.ok) {
    leaveIfOut(answer.status);
    throw new Refused(answer.status, await answer.text());
  }
  let rest = "";
  const read = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await read.read(); !piece.done; piece = await read.read()) {
    const frames = (rest + piece.value).split("\r\n\r\n");
    rest = frames.pop();
    for (const frame of frames) {
      const event = /^event: (\w+)/m.exec(frame)?.[1];
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (event === "error") throw new Refused(500, JSON.parse(data));
      if (event === "state") tell(JSON.parse(data).data);
    }
  }
}

/** Be told of changes of doctypes, for as long as the page is open; `again` is called when some may have been missed. */
export function watch(doctypes, told, again) {
  let wait = 1000;
  let isFirst = true;
  const open = () => {
    const socket = new WebSocket(at("/realtime/").replace("http", "ws"), "io.cozy.websocket");
    const send = (method, payload) => socket.send(JSON.stringify({ method, payload }));
    socket.onopen = () => {
      wait = 1000;
      send("AUTH", given.token);
      for (const type of doctypes) send("SUBSCRIBE", { type });
      if (!isFirst) again();
      isFirst = false;
    };
    socket.onmessage = (message) => {
      const { event, payload } = JSON.parse(message.data);
      if (event !== "error") told(payload.type, event, payload.doc);
    };
    socket.onclose = () => {
      setTimeout(open, wait);
      wait = Math.min(wait * 2, 60_000);
    };
  };
  open();
}

/** End her session in this browser. */
export async function logOut() {
  await ask("DELETE", "/auth/login").catch(() => undefined);
  location.assign(at("/"));
}

/** The name of an app in her language. */
export const nameOf = (app) => app.locales?.[language]?.name ?? app.name ?? app.slug;

function headers() {
  return { Accept: "application/vnd.api+json, application/json", Authorization: `Bearer ${given.token}` };
}

/** Her session has ended: the page leads to the log-in by itself, unless it was opened just now. */
function leaveIfOut(status) {
  if ((status === 401 || status === 400) && Date.now() - opened > 30_000) location.reload();
}
