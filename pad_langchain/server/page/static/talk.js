// One conversation of one user: what is asked, answered, compared and judged.

import { useRef, useState } from "/page/vendor/htm-preact.js";
import { newId } from "/page/store.js";

const message = (role, text, more) => ({ key: newId(), role, text, state: "done", ...more });

const spoken = (messages) =>
  messages.filter(({ role, text }) => role !== "pair" && text).map(({ role, text }) => ({ role, content: text }));

/**
 * messages: of the conversation; `change(f)` replaces them by f of the newest ones.
 * memory: of `useMemory`. fail(error): shows it. hidden: whether nothing is kept of it.
 */
export function useTalk({ api, messages, change, thread, beta, memory, fail, hidden = false }) {
  const [busy, setBusy] = useState("");
  const stopper = useRef(null);
  const patch = (key, fields) => change((all) => all.map((each) => (each.key === key ? { ...each, ...fields } : each)));
  const drop = (...keys) => change((all) => all.filter(({ key }) => !keys.includes(key)));

  /** Do something that can be stopped. Whether it went well. */
  async function run(what, work) {
    const control = new AbortController();
    stopper.current = control;
    setBusy(what);
    try {
      await work(control.signal);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") fail(error);
      return false;
    } finally {
      setBusy("");
    }
  }

  async function stream(asked, answer, signal) {
    let text = "";
    let tokens = [];
    const body = { model: api.model, messages: asked, stream: true, logprobs: true, pad: { thread_id: thread } };
    if (beta != null) body.pad.beta = beta;
    if (hidden) body.pad.private = hidden;
    try {
      await api.stream(body, signal, (chunk) => {
        const [choice] = chunk.choices;
        text += choice.delta.content || "";
        tokens = tokens.concat(choice.logprobs?.content || []);
        patch(answer.key, { id: chunk.id, text, tokens, steered: chunk.pad?.condition, heldBack: chunk.pad?.held_back });
      });
      patch(answer.key, { state: "done" });
      memory.refresh(); // a question may have had a wish in it
    } catch (error) {
      if (!text) throw error;
      patch(answer.key, { state: error.name === "AbortError" ? "stopped" : "failed" });
      if (error.name !== "AbortError") fail(error);
    }
  }

  /** Ask and have it answered. False: nothing was answered, and the question is not in the conversation. */
  async function send(text) {
    const mine = message("user", text);
    const answer = message("assistant", "", { state: "streaming", tokens: [] });
    change((all) => [...all, mine, answer]);
    const asked = [...spoken(messages), { role: "user", content: text }];
    const well = await run("answer", (signal) => stream(asked, answer, signal));
    if (!well) drop(mine.key, answer.key);
    return well;
  }

  /** Ask and have it answered twice, for the user to choose. */
  async function compare(text) {
    const mine = message("user", text);
    change((all) => [...all, mine]);
    const asked = [...spoken(messages), { role: "user", content: text }];
    const well = await run("compare", async (signal) => {
      const found = await api.json("POST", "/v1/comparisons", { messages: asked, thread_id: thread }, signal);
      if (found.question) {
        const { first, second, question } = found;
        change((all) => [...all, message("pair", "", { prompt: text, first, second, question })]);
        return;
      }
      memory.notice(`There is one answer only: ${found.reason}.`);
      const answer = message("assistant", "", { state: "streaming", tokens: [] });
      change((all) => [...all, answer]);
      try {
        await stream(asked, answer, signal);
      } catch (error) {
        drop(answer.key);
        throw error;
      }
    });
    if (!well) drop(mine.key);
    return well;
  }

  /** Whether what is recorded went well. */
  async function judged(work) {
    try {
      await work();
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  }

  const pick = (pair, which) =>
    judged(async () => {
      const [chosen, rejected] = which === "second" ? [pair.second, pair.first] : [pair.first, pair.second];
      const { prompt } = pair;
      await memory.teach(
        { kind: "choice", chosen_id: chosen.id, rejected_id: rejected.id, tie: which === "tie", thread },
        { prompt, chosen: chosen.text, rejected: rejected.text },
      );
      patch(pair.key, { role: "assistant", text: chosen.text, id: chosen.id, picked: which });
    });

  const promptOf = (answer) => {
    const before = messages.slice(0, messages.findIndex(({ key }) => key === answer.key));
    return before.findLast(({ role }) => role === "user")?.text || "";
  };
  const about = (answer, said) =>
    memory.teach({ ...said, response_id: answer.id, thread }, { prompt: promptOf(answer), response: answer.text });

  /** Vote, change the vote, or take it back by the same button. An old vote is taken back: an id counts once. */
  const vote = (answer, up) =>
    judged(async () => {
      if (answer.event) await memory.takeBack([answer.event], "Your vote is taken back.");
      if (answer.event && answer.up === up) return;
      const told = await about(answer, { kind: "thumb", up });
      patch(answer.key, { up, event: told.id });
    });

  /** Why: what was wrong is said of the answer; what was good is a wish. */
  const explain = (answer, text) =>
    judged(() => (answer.up ? memory.teach({ kind: "statement", text, thread }) : about(answer, { kind: "critique", text })));

  const edit = (answer, text) =>
    judged(async () => {
      await about(answer, { kind: "edit", edited: text });
      patch(answer.key, { text, tokens: [], edited: true });
    });

  const stop = () => stopper.current?.abort();
  return { busy, send, compare, stop, pick, vote, explain, edit, hidden };
}
