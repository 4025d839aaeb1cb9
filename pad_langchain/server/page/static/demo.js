// ?demo=1: the same questions to two users, side by side. Each teaches their own half. Nothing is kept in the browser.

import { html, useMemo, useRef, useState } from "/page/vendor/htm-preact.js";
import { apiFor } from "/page/api.js";
import { Alert, Composer, Controls, Log } from "/page/chat.js";
import { useMemory } from "/page/memory.js";
import { Panel } from "/page/panel.js";
import { newId } from "/page/store.js";
import { useTalk } from "/page/talk.js";

const USERS = ["ada", "bob"];

function Half({ session, user, beta, heat, fail, reach }) {
  const api = useMemo(() => apiFor(session, user), [session, user]);
  const [messages, setMessages] = useState([]);
  const [thread] = useState(newId);
  const gone = (events) => setMessages((all) => all.map((each) => (events.includes(each.event) ? { ...each, up: null, event: null } : each)));
  const memory = useMemory(api, gone);
  const talk = useTalk({ api, messages, change: setMessages, thread, beta, memory, fail });
  reach(talk);
  return html`
    <section aria-label=${user} class="half">
      <h2>${user}</h2>
      <${Log} messages=${messages} talk=${talk} heat=${heat} user=${user} label=${`Conversation of ${user}`} />
      <${Panel} api=${api} memory=${memory} fail=${fail} erased=${() => setMessages([])} title=${`What is known of ${user}`} />
    </section>`;
}

export function Demo({ session, problem, fail }) {
  const [beta, setBeta] = useState(null);
  const [heat, setHeat] = useState(false);
  const [busy, setBusy] = useState("");
  const talks = useRef({});
  if (session.role !== "app") {
    return html`<main><p>The demo talks as two users, so it needs a key that may name them. Make one with
      <code>pad-langchain keys create --role app</code>, log out and enter it.</p></main>`;
  }
  const send = async (text) => {
    setBusy("answer");
    const well = await Promise.all(USERS.map((user) => talks.current[user].send(text)));
    setBusy("");
    return well.some(Boolean);
  };
  const stop = () => USERS.forEach((user) => talks.current[user].stop());
  return html`
    <main class="demo">
      <${Alert} problem=${problem} close=${() => fail(null)} />
      <${Controls} beta=${beta} setBeta=${setBeta} heat=${heat} setHeat=${setHeat} />
      <div class="columns">${USERS.map((user) => html`
        <${Half} key=${user} session=${session} user=${user} beta=${beta} heat=${heat} fail=${fail}
          reach=${(talk) => (talks.current[user] = talk)} />`)}</div>
      <${Composer} busy=${busy} send=${send} stop=${stop} />
    </main>`;
}
