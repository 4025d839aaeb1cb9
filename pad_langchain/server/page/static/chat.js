// The chat of one user: conversations, the log, the composer, and the panel.

import { html, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { apiFor } from "/page/api.js";
import { Legend } from "/page/heat.js";
import { useMemory } from "/page/memory.js";
import { Message } from "/page/message.js";
import { Panel } from "/page/panel.js";
import { load, newConversation, save, titleOf } from "/page/store.js";
import { useTalk } from "/page/talk.js";

/** The messages. Scrolls with what is written, unless the reader has scrolled up. */
export function Log({ messages, talk, heat, user, label = "Conversation" }) {
  const box = useRef(null);
  const follows = useRef(true);
  useLayoutEffect(() => {
    if (follows.current) box.current.scrollTop = box.current.scrollHeight;
  });
  const scrolled = ({ target }) => (follows.current = target.scrollHeight - target.scrollTop - target.clientHeight < 40);
  return html`
    <div class="log" role="log" aria-live="polite" aria-label=${label} tabindex="0" ref=${box} onScroll=${scrolled}>
      ${messages.length === 0 && html`<p class="quiet">Ask something. Then judge the answer: the next one will be more to your liking.</p>`}
      ${messages.map((message) => html`<${Message} key=${message.key} message=${message} talk=${talk} heat=${heat} user=${user} />`)}
    </div>`;
}

/** send, compare (optional): return whether it went well; if not, the text is given back. */
export function Composer({ busy, send, compare, stop }) {
  const [text, setText] = useState("");
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const go = async (how) => {
    const said = text.trim();
    if (!said || busy) return;
    setText("");
    field.current.focus();
    if (!(await how(said))) setText((now) => now || said);
  };
  const keyed = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    go(send);
  };
  const submit = (event) => {
    event.preventDefault();
    go(send);
  };
  return html`
    <form class="composer" onSubmit=${submit}>
      <label for="question">Your message</label>
      <textarea id="question" ref=${field} rows="2" value=${text} onKeyDown=${keyed} onInput=${(event) => setText(event.target.value)} />
      <div class="row">
        <button type="submit" class="main" disabled=${Boolean(busy)}>Send</button>
        ${compare && html`<button type="button" disabled=${Boolean(busy)} onClick=${() => go(compare)}>Two answers</button>`}
        ${busy && html`<button type="button" onClick=${stop}>Stop</button>`}
        ${busy === "compare" && html`<span class="quiet" role="status">Writing two answers …</span>`}
      </div>
    </form>`;
}

/** Nothing of a private conversation is kept; standing wishes steer it where the reader says so. */
function Privacy({ hidden, setHidden, busy }) {
  return html`
    <label class="switch"><input type="checkbox" role="switch" checked=${Boolean(hidden)} disabled=${busy}
      onChange=${(event) => setHidden(event.target.checked)} /> Private</label>
    ${hidden && html`<label class="switch"><input type="checkbox" role="switch" checked=${hidden === "steered"} disabled=${busy}
      onChange=${(event) => setHidden(event.target.checked ? "steered" : true)} /> Steered by what is known</label>`}`;
}

export function Controls({ beta, setBeta, heat, setHeat, privacy }) {
  const shown = beta == null ? "default" : beta.toFixed(1);
  return html`
    <div class="controls row">
      <label>Strength of preferences
        <input type="range" min="0" max="8" step="0.5" value=${beta ?? 1} aria-valuetext=${shown}
          onInput=${(event) => setBeta(Number(event.target.value))} />
      </label>
      <output>${shown}</output>
      <button class="small" disabled=${beta == null} onClick=${() => setBeta(null)}>Default</button>
      <label class="switch"><input type="checkbox" role="switch" checked=${heat} onChange=${(event) => setHeat(event.target.checked)} /> Heat map</label>
      ${privacy}
    </div>
    ${heat && html`<${Legend} />`}`;
}

export const Alert = ({ problem, close }) =>
  html`<div role="alert">${problem && html`<div class="alert row"><span>${problem}</span><button class="small" onClick=${close}>Close</button></div>`}</div>`;

function useConversations(user) {
  const [all, setAll] = useState(() => load(user));
  const [chosen, setChosen] = useState(all[all.length - 1].id);
  const current = all.find(({ id }) => id === chosen) || all[all.length - 1];
  const writes = current.messages.some(({ state }) => state === "streaming");
  useEffect(() => {
    if (!writes) save(user, all);
  }, [all, writes]);
  const change = (f) => setAll((now) => now.map((each) => (each.id === current.id ? { ...each, messages: f(each.messages) } : each)));
  const left = ({ messages, hidden }) => messages.length && !hidden; // a private one is gone when it is left
  const begin = (hidden = false) => {
    const fresh = newConversation(hidden);
    setAll((now) => [...now.filter(left), fresh]);
    setChosen(fresh.id);
  };
  const choose = (id) => {
    setAll((now) => now.filter((each) => each.id === id || left(each)));
    setChosen(id);
  };
  const remove = (id) => setAll((now) => {
    const rest = now.filter((each) => each.id !== id);
    return rest.length ? rest : [newConversation()];
  });
  const unvote = (events) => setAll((now) => now.map((each) => ({
    ...each,
    messages: each.messages.map((message) => (events.includes(message.event) ? { ...message, up: null, event: null } : message)),
  })));
  const clear = () => setAll([newConversation()]);
  return { all, current, change, begin, choose, remove, unvote, clear };
}

function Conversations({ conversations, busy }) {
  const { all, current, begin, choose, remove } = conversations;
  return html`
    <button onClick=${() => begin()} disabled=${busy}>New conversation</button>
    <ul class="conversations">${all.map((each) => html`
      <li key=${each.id} class="row">
        <button class="title" aria-current=${each.id === current.id ? "true" : null} onClick=${() => choose(each.id)}>${titleOf(each)}</button>
        <button class="small" disabled=${busy} aria-label=${`Delete: ${titleOf(each)}`} onClick=${() => remove(each.id)}>Delete</button>
      </li>`)}</ul>`;
}

export function Chat({ session, user, problem, fail, shown }) {
  const api = useMemo(() => apiFor(session, user), [session, user]);
  const conversations = useConversations(api.user);
  const { current, change, unvote, clear } = conversations;
  const memory = useMemory(api, useCallback(unvote, []));
  const [beta, setBeta] = useState(null);
  const [heat, setHeat] = useState(false);
  const thread = current.id;
  const { hidden } = current;
  const talk = useTalk({ api, messages: current.messages, change, thread, beta, memory, fail, hidden });
  const knows = session.remembers && api.user;
  const busy = Boolean(talk.busy);
  const privacy = html`<${Privacy} hidden=${hidden} setHidden=${conversations.begin} busy=${busy} />`;
  /** What the server kept for this conversation only goes with it. */
  const remove = (id) => {
    conversations.remove(id);
    if (knows) api.json("DELETE", `/v1/me/threads/${encodeURIComponent(id)}`).then(memory.refresh, fail);
  };
  return html`
    <div class="rooms">
      <nav aria-label="Conversations" class=${shown.list ? "side" : "side away"}><${Conversations} conversations=${{ ...conversations, remove }} busy=${busy} /></nav>
      <main>
        <${Alert} problem=${problem} close=${() => fail(null)} />
        <${Controls} beta=${beta} setBeta=${setBeta} heat=${heat} setHeat=${setHeat} privacy=${privacy} />
        ${hidden && html`<p class="quiet" role="status">Private: nothing of this conversation is kept, here or on the server.</p>`}
        <${Log} messages=${current.messages} talk=${talk} heat=${heat} user=${api.user} />
        <${Composer} busy=${talk.busy} send=${talk.send} compare=${knows && !hidden && talk.compare} stop=${talk.stop} />
      </main>
      <aside id="panel" aria-label="What is known" class=${shown.panel ? "side" : "side away"}>
        ${knows
          ? html`<${Panel} api=${api} memory=${memory} fail=${fail} erased=${clear} />`
          : html`<h2>What is known</h2><p class="quiet">${session.remembers ? "Name the user, above: nothing is kept of nobody." : "This server keeps no preferences."}</p>`}
      </aside>
    </div>`;
}
