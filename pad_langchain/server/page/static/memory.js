// What a user tells the server, and takes back again.

import { useRef, useState } from "/page/vendor/htm-preact.js";

const byText = ({ response_id, chosen_id, rejected_id, ...said }) => said;

/** gone(ids): these events no longer count. */
export function useMemory(api, gone) {
  const [version, setVersion] = useState(0); // of what is known
  const [told, setTold] = useState(null); // what came of the last thing that was told
  const zoned = useRef(false); // whether the server knows whose clock is meant
  const [ids, setIds] = useState([]); // of what was told on this page, for undo
  const changed = (what) => {
    setTold(what);
    setVersion((number) => number + 1);
  };

  /** "Today" is a day of the reader's clock. The server is told which that is, once, before it reads words. */
  async function nameZone() {
    if (zoned.current) return;
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const settings = await api.json("GET", "/v1/me/settings");
    if (zone && settings.time_zone === "UTC" && zone !== "UTC") {
      await api.json("PATCH", "/v1/me/settings", { time_zone: zone });
    }
    zoned.current = true;
  }

  /** Send feedback, and ask the reader first where the server wants that. */
  async function tell(body) {
    try {
      return await api.json("POST", "/v1/feedback", body);
    } catch (error) {
      if (error.code !== "consent_needed") throw error;
      const kinds = /\((.*?)\)/.exec(error.message)?.[1] || "of you";
      if (!confirm(`This tells something sensitive (${kinds}). May it be kept?`)) throw new Error("Nothing was kept.");
      return api.json("POST", "/v1/feedback", { ...body, consented: true });
    }
  }

  /** Record feedback. The server knows ids of recent answers only: `texts` say the same of older ones. */
  async function teach(body, texts) {
    if (body.text) await nameZone();
    let said;
    try {
      said = await tell(body);
    } catch (error) {
      if (error.code !== "unknown_response" || !texts) throw error;
      said = await tell({ ...byText(body), ...texts });
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
