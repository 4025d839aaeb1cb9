// What stands in the log: a message, and two answers to choose from. All of it is text; nothing is read as markup.

import { html, useEffect, useRef, useState } from "/page/vendor/htm-preact.js";
import { Heat } from "/page/heat.js";

const Thumb = ({ down }) => html`
  <svg class=${down ? "icon down" : "icon"} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
    <path d="M7 10v10H3V10zM9 20V10l4-7c2 0 2 2 2 3l-1 4h5c2 0 2 2 2 3l-2 6c0 1-1 1-2 1z" />
  </svg>`;

/** One way that wishes went in an answer; nothing where none went it. */
const Conditioned = ({ label, wishes = [] }) =>
  wishes.length > 0 &&
  html`<p class="quiet">${label}: ${wishes.map(({ text, reason }) => (reason ? `${text} (${reason})` : text)).join("; ")}</p>`;

/** A text field that opens for one purpose, and gives the focus back when it closes. */
function Field({ label, start = "", action, rows = 2, save, close }) {
  const [text, setText] = useState(start);
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const submit = async (event) => {
    event.preventDefault();
    if (text.trim() && text !== start && (await save(text))) close();
  };
  return html`
    <form class="field" onSubmit=${submit} onKeyDown=${(event) => event.key === "Escape" && close()}>
      <label>${label}<textarea ref=${field} rows=${rows} value=${text} onInput=${(event) => setText(event.target.value)} /></label>
      <div class="row"><button type="submit">${action}</button><button type="button" onClick=${close}>Cancel</button></div>
    </form>`;
}

function Actions({ message, talk }) {
  const [open, setOpen] = useState("");
  const opener = useRef(null);
  const close = () => {
    setOpen("");
    opener.current?.focus();
  };
  const toggle = (what) => (event) => {
    opener.current = event.currentTarget;
    setOpen(open === what ? "" : what);
  };
  const { up } = message;
  const vote = (value) => () => talk.vote(message, value).then(() => setOpen(""));
  return html`
    <div class="row" role="group" aria-label="Judge this answer">
      <button class="small" aria-pressed=${String(up === true)} onClick=${vote(true)}><${Thumb} /> Good</button>
      <button class="small" aria-pressed=${String(up === false)} onClick=${vote(false)}><${Thumb} down /> Bad</button>
      ${up != null && html`<button class="small" aria-expanded=${String(open === "why")} onClick=${toggle("why")}>Why?</button>`}
      <button class="small" aria-expanded=${String(open === "edit")} onClick=${toggle("edit")}>Edit</button>
    </div>
    ${open === "why" && html`<${Field} label=${up ? "What should stay like this?" : "What was wrong with it?"} action="Tell"
      save=${(text) => talk.explain(message, text)} close=${close} />`}
    ${open === "edit" && html`<${Field} label="The answer as it should have been" action="Save" rows="6"
      start=${message.text} save=${(text) => talk.edit(message, text)} close=${close} />`}`;
}

const ENDED = { stopped: "Stopped.", failed: "This answer broke off." };

export function Message({ message, talk, heat, user }) {
  if (message.role === "pair") return html`<${Pair} pair=${message} talk=${talk} />`;
  const mine = message.role === "user";
  const streams = message.state === "streaming";
  const warm = heat && !mine && message.tokens?.length > 0;
  return html`
    <div class=${mine ? "message mine" : "message"} aria-busy=${String(streams)}>
      <p class="who">${mine ? user || "You" : "Answer"}${message.edited && ", edited by you"}</p>
      ${warm ? html`<${Heat} text=${message.text} tokens=${message.tokens} />` : html`<p class="text">${message.text}</p>`}
      ${streams && !message.text && html`<p class="quiet">Writing …</p>`}
      ${ENDED[message.state] && html`<p class="quiet">${ENDED[message.state]}</p>`}
      <${Conditioned} label="Steered by" wishes=${message.steered?.filter(({ route }) => route === "guide" || route === "both")} />
      <${Conditioned} label="Told to the model" wishes=${message.steered?.filter(({ route }) => route === "prompt")} />
      <${Conditioned} label="Held back here" wishes=${message.heldBack} />
      ${!mine && !streams && talk && !talk.hidden && html`<${Actions} message=${message} talk=${talk} />`}
    </div>`;
}

function Pair({ pair, talk }) {
  const [busy, setBusy] = useState(false);
  const pick = (which) => async () => {
    setBusy(true);
    if (!(await talk.pick(pair, which))) setBusy(false);
  };
  return html`
    <div class="message pair" role="group" aria-label="Two answers: which is better?">
      <p class="who">Two answers: which is better?</p>
      <div class="columns">
        <div><p class="text">${pair.first.text}</p><button disabled=${busy} onClick=${pick("first")}>The first is better</button></div>
        <div><p class="text">${pair.second.text}</p><button disabled=${busy} onClick=${pick("second")}>The second is better</button></div>
      </div>
      <button disabled=${busy} onClick=${pick("tie")}>No difference</button>
      <p class="quiet">Asked because: ${pair.question.why}</p>
    </div>`;
}
