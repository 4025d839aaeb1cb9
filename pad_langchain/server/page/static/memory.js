// What a user tells the server, and takes back again.

import { useState } from "/page/vendor/htm-preact.js";

const byText = ({ response_id, chosen_id, rejected_id, ...said }) => said;

/** gone(ids): these events no longer count. */
export function useMemory(api, gone) {
  const [version, setVersion] = useState(0); // of what is known
  const [told, setTold] = useState(null); // what came of the last thing that was told
  const [ids, setIds] = useState([]); // of what was told on this page, for undo
  const changed = (what) => {
    setTold(what);
    setVersion((number) => number + 1);
  };

  /** Record feedback. The server knows ids of recent answers only: `texts` say the same of older ones. */
  async function teach(body, texts) {
    let said;
    try {
      said = await api.json("POST", "/v1/feedback", body);
    } catch (error) {
      if (error.code !== "unknown_response" || !texts) throw error;
      said = await api.json("POST", "/v1/feedback", { ...byText(body), ...texts });
    }
    setIds((all) => [...all, said.id]);
    changed(said);
    return said;
  }

  /** Take events back. One that is gone already is as good. */
  async function takeBack(events, text) {
    for (const id of events) {
      await api.json("DELETE", `/v1/feedback/${encodeURIComponent(id)}`).catch((error) => {
        if (error.code !== "unknown_feedback") throw error;
      });
    }
    setIds((all) => all.filter((id) => !events.includes(id)));
    gone(events);
    changed({ text });
  }

  async function erase() {
    await api.json("DELETE", "/v1/me");
    setIds([]);
    changed({ text: "All was erased." });
  }

  const undo = ids.length ? () => takeBack([ids.at(-1)], "The last thing you told is taken back.") : null;
  const notice = (text) => setTold({ text });
  const refresh = () => setVersion((number) => number + 1);
  return { version, told, teach, takeBack, undo, erase, notice, refresh };
}
