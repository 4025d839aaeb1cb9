// The panel of what is known about the user, and all they can do about it.

import { html, useEffect, useRef, useState } from "/page/vendor/htm-preact.js";

const SOURCES = { stated: "said by you", inferred: "concluded", population: "what most want", operator: "of this server" };
const SHOWN = 3; // leanings
const moment = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const day = (seconds) => new Date(seconds * 1000).toLocaleDateString(undefined, { dateStyle: "medium" });

/** What came of the last thing that was told. */
export function Told({ told }) {
  if (!told) return html`<p role="status" class="told"></p>`;
  const { learned = [], leaning = [], held_back: held, expired = [], text } = told;
  const said = text
    ? text
    : held
      ? `Held back (${held.status}, rule “${held.rule}”): ${held.reason}`
      : learned.length
        ? `Learned: ${learned.map((item) => `${item.text} (weight ${item.weight.toFixed(2)})`).join("; ")}.`
        : expired.length
          ? `The time that it names is over: ${expired.join("; ")}.`
        : leaning.length
          ? `Recorded. Leaning towards: ${leaning.slice(0, SHOWN).map((item) => item.text).join("; ")}. Not sure yet.`
          : "Recorded. By itself it says too little to change anything yet.";
  return html`<p role="status" class=${held ? "told held" : "told"}>${said}</p>`;
}

function Known({ item, takeBack, waits = false }) {
  const facts = [`weight ${item.weight.toFixed(2)}`, `${Math.round(item.confidence * 100)} % sure`, SOURCES[item.source]];
  if (waits) facts.unshift("not now, but later");
  if (item.valid_to != null) facts.push(`until ${moment(item.valid_to)}`);
  if (item.answers_left != null) facts.push(`for ${item.answers_left} more answers`);
  if (item.sensitive) facts.push(`sensitive: ${item.sensitive.join(", ")}`);
  if (item.scope) facts.push(item.scope.startsWith("thread:") ? "in one conversation" : `in ${item.scope}`);
  if (item.valid_from != null) facts.push(item.valid_from * 1000 > Date.now() ? `from ${moment(item.valid_from)} on` : `since ${day(item.valid_from)}`);
  return html`
    <li>
      <p class="wish">${item.text}</p>
      <meter min="0" max="1" value=${item.confidence} aria-label=${`How sure: ${item.text}`} />
      <p class="quiet">${facts.join(" · ")}</p>
      ${item.why && html`<p class="quiet">${item.why}</p>`}
      ${item.evidence.length > 0 && html`<button class="small" aria-label=${`Take back: ${item.text}`} onClick=${() => takeBack(item)}>Take back</button>`}
    </li>`;
}

/** What judgements point to and nothing is steered by yet. */
function Leanings({ items }) {
  if (!items.length) return null;
  return html`
    <h3>Not sure yet</h3>
    <ul class="known">${items.slice(0, SHOWN).map((item) => html`
      <li key=${item.key}>
        <p>${item.text}</p>
        <meter min="0" max="1" value=${item.confidence} aria-label=${`How sure: ${item.text}`} />
        <p class="quiet">${Math.round(item.confidence * 100)} % sure; from 50 % on it counts</p>
      </li>`)}</ul>`;
}

/**
 * memory: of `useMemory`. fail(error): shows it. erased(): all was erased.
 */
export function Panel({ api, memory, fail, erased, title = "What is known" }) {
  const [known, setKnown] = useState(null);
  const [paused, setPaused] = useState(false);
  const [wish, setWish] = useState("");
  const dialog = useRef(null);
  const heading = useRef(null);
  useEffect(() => {
    let current = true;
    api.json("GET", "/v1/preferences").then(
      (found) => current && setKnown(found),
      (error) => current && fail(error),
    );
    api.json("GET", "/v1/me/settings").then((settings) => current && setPaused(settings.paused), () => {});
    return () => (current = false);
  }, [api, memory.version]);

  const guarded = (work) => async (event) => {
    event?.preventDefault?.();
    try {
      await work(event);
    } catch (error) {
      fail(error);
    }
  };
  const tell = guarded(async () => {
    if (!wish.trim()) return;
    await memory.teach({ kind: "statement", text: wish });
    setWish("");
  });
  const pause = guarded(async () => {
    setPaused((await api.json("PATCH", "/v1/me/settings", { paused: !paused })).paused);
  });
  const takeBack = (item) =>
    guarded(async () => {
      await memory.takeBack(item.evidence, `Taken back: ${item.text}.`);
      heading.current.focus();
    })();
  const exportAll = guarded(async () => {
    const all = JSON.stringify(await api.json("GET", "/v1/me"), null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([all], { type: "application/json" }));
    link.download = "pad-langchain-export.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  const erase = guarded(async () => {
    await memory.erase();
    erased();
    dialog.current.close();
    heading.current.focus();
  });

  const marked = [...new Set([...(known?.data || []), ...(known?.later || [])].flatMap(({ sensitive }) => sensitive || []))];
  return html`
    <h2 ref=${heading} tabindex="-1">${title}</h2>
    <${Told} told=${memory.told} />
    <form class="field" onSubmit=${tell}>
      <label>A wish, in your own words<input value=${wish} autocomplete="off" onInput=${(event) => setWish(event.target.value)} /></label>
      <div class="row"><button type="submit">Tell</button><button type="button" disabled=${!memory.undo} onClick=${guarded(() => memory.undo())}>Undo</button></div>
    </form>
    ${known && known.data.length + known.leanings.length + known.later.length === 0 && html`<p class="quiet">Nothing yet. Judge answers, or tell a wish.</p>`}
    <ul class="known">${(known?.data || []).map((item) => html`<${Known} key=${item.key} item=${item} takeBack=${takeBack} />`)}
      ${(known?.later || []).map((item) => html`<${Known} key=${`later:${item.key}`} item=${item} takeBack=${takeBack} waits />`)}</ul>
    ${(known?.drifts || []).map((drift) => html`<p class="quiet" key=${`drift:${drift.dimension}`}>Changed? ${drift.why}</p>`)}
    <${Leanings} items=${known?.leanings || []} />
    ${paused && html`<p class="quiet" role="status">Paused: nothing is recorded.</p>`}
    <div class="row">
      <button onClick=${pause}>${paused ? "Resume" : "Pause"}</button>
      <button onClick=${exportAll}>Export</button>
      <button class="danger" onClick=${() => dialog.current.showModal()}>Erase all …</button>
    </div>
    <dialog ref=${dialog} aria-label="Erase all?">
      <p>Erase all that is kept about ${api.user || "you"}: feedback, wishes, and the conversations in this browser? This cannot be undone.</p>
      ${marked.length > 0 && html`<p>Among it are wishes that tell something sensitive: ${marked.join(", ")}.</p>`}
      <div class="row"><button class="danger" onClick=${erase}>Erase all</button><button onClick=${() => dialog.current.close()}>Cancel</button></div>
    </dialog>`;
}
