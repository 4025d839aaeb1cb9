// The page: the login, then the chat or, with ?demo=1, two users side by side.

import { html, render, useCallback, useEffect, useRef, useState } from "/page/vendor/htm-preact.js";
import { getSession, login, logout } from "/page/api.js";
import { Alert, Chat } from "/page/chat.js";
import { Demo } from "/page/demo.js";

const isDemo = new URLSearchParams(location.search).get("demo") === "1";

function Login({ problem, fail, entered }) {
  const [key, setKey] = useState("");
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await login(key);
      await entered();
    } catch (error) {
      fail(error);
      field.current.select();
    }
  };
  return html`
    <main class="login">
      <${Alert} problem=${problem} close=${() => fail(null)} />
      <form class="field" method="post" action="/login" onSubmit=${submit}>
        <label>Key<input ref=${field} name="key" type="password" autocomplete="current-password" required value=${key}
          onInput=${(event) => setKey(event.target.value)} /></label>
        <div class="row"><button type="submit" class="main">Log in</button></div>
        <p class="quiet">The first start of the server prints a key; <code>pad-langchain keys create --user NAME</code> makes one.</p>
      </form>
    </main>`;
}

function Who({ session, user, setUser }) {
  const [name, setName] = useState(user);
  if (session.role === "user") return html`<span>${session.user}</span>`;
  if (isDemo) return null;
  const submit = (event) => {
    event.preventDefault();
    setUser(name.trim());
  };
  return html`
    <form class="row" onSubmit=${submit}>
      <label>User <input value=${name} size="10" autocomplete="off" onInput=${(event) => setName(event.target.value)} /></label>
      <button type="submit" class="small">Use</button>
    </form>`;
}

const Toggle = ({ shown, show, name, label }) => html`
  <button class="small toggle" aria-expanded=${String(shown[name])} onClick=${() => show({ ...shown, [name]: !shown[name] })}>${label}</button>`;

function App() {
  const [session, setSession] = useState(null);
  const [problem, setProblem] = useState("");
  const [user, setUser] = useState("");
  const [shown, show] = useState({ list: innerWidth >= 900, panel: innerWidth >= 900 });
  const ask = async () => setSession(await getSession());
  const fail = useCallback((error) => {
    setProblem(error ? error.message : "");
    if (error?.status === 401) setSession({ role: null });
  }, []);
  useEffect(() => void ask().catch(fail), []);
  const leave = async () => {
    try {
      await logout();
      setUser("");
      await ask();
    } catch (error) {
      fail(error);
    }
  };
  const entered = async () => {
    await ask();
    fail(null);
  };
  const inside = session?.role;
  return html`
    <header class="row">
      <h1>pad-langchain</h1>
      ${inside && html`
        <span class="quiet">${session.model}</span>
        <${Who} session=${session} user=${user} setUser=${setUser} />
        ${!isDemo && html`<${Toggle} shown=${shown} show=${show} name="list" label="Conversations" />
          <${Toggle} shown=${shown} show=${show} name="panel" label="What is known" />`}
        <button class="small" onClick=${leave}>Log out</button>`}
    </header>
    ${!session && html`<main><${Alert} problem=${problem} close=${() => fail(null)} /></main>`}
    ${session && !inside && html`<${Login} problem=${problem} fail=${fail} entered=${entered} />`}
    ${inside && isDemo && html`<${Demo} session=${session} problem=${problem} fail=${fail} />`}
    ${inside && !isDemo && html`<${Chat} key=${user} session=${session} user=${user} problem=${problem} fail=${fail} shown=${shown} />`}`;
}

render(html`<${App} />`, document.body);
