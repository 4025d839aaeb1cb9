// Calls of the server that the page came from. The key is in a cookie that scripts cannot read.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const PAGE = { "X-PAD-Page": "1" };

async function call(method, path, { body, headers, signal } = {}) {
  const sent = { method, headers: { ...PAGE, ...headers }, signal };
  if (body !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, sent);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server does not answer. Is it running?");
  }
  if (answer.ok) return answer;
  const said = (await answer.json().catch(() => ({}))).error || {};
  throw new ApiError(answer.status, said.code, said.message || `The server answered ${answer.status}.`);
}

export const login = (key) => call("POST", "/login", { body: { key } });
export const logout = () => call("POST", "/logout");
export const getSession = async () => (await call("GET", "/session")).json();

// Headers carry bytes: a name that is not ASCII goes as UTF-8.
const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** The API for one user. With an app's key `user` names them; "" is nobody. */
export function apiFor(session, user) {
  const named = session.role === "app" && user ? { [session.user_header]: utf8(user) } : {};
  const json = async (method, path, body, signal) =>
    (await call(method, path, { body, signal, headers: named })).json();
  return {
    user: session.role === "app" ? user : session.user,
    model: session.model,
    json,
    async stream(body, signal, onChunk) {
      const answer = await call("POST", "/v1/chat/completions", { body, signal, headers: named });
      for await (const data of events(answer.body.getReader())) {
        if (data === "[DONE]") return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new ApiError(200, chunk.error.code, chunk.error.message);
        onChunk(chunk);
      }
      throw new ApiError(0, "broken_off", "The answer broke off.");
    },
  };
}

async function* events(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const whole = rest.split("\n\n");
      rest = whole.pop();
      for (const event of whole) if (event.startsWith("data: ")) yield event.slice(6);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "broken_off", "The connection broke off.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
