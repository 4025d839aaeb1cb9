// Conversations of each user, kept in this browser only: their texts, ids of answers and votes. The key never.

const place = (user) => `pad-conversations:${user || ""}`;
const KEPT = ["role", "text", "id", "up", "event", "edited"];

let last = 0;
export const newId = () => `${Date.now().toString(36)}-${(last++).toString(36)}-${Math.random().toString(36).slice(2, 8)}`;

/** hidden: true or "steered" for one of which nothing is kept, here or on the server. */
export const newConversation = (hidden = false) => ({ id: newId(), messages: [], hidden });

export function titleOf(conversation) {
  const first = conversation.messages.find((message) => message.role === "user");
  if (conversation.hidden) return "Private";
  return first ? first.text.slice(0, 60) : "New conversation";
}

export function load(user) {
  let kept = [];
  try {
    kept = JSON.parse(localStorage.getItem(place(user))) || [];
  } catch {
    // what cannot be read is as if it were not there
  }
  const found = kept.map(({ id, messages }) => ({
    id,
    messages: messages.map((message) => ({ ...message, key: newId(), state: "done" })),
  }));
  return found.length ? found : [newConversation()];
}

export function save(user, conversations) {
  const kept = conversations
    .filter(({ messages, hidden }) => messages.length && !hidden)
    .map(({ id, messages }) => ({
      id,
      messages: messages
        .filter(({ role, text }) => role !== "pair" && text)
        .map((message) => Object.fromEntries(KEPT.filter((name) => message[name] != null).map((name) => [name, message[name]]))),
    }));
  try {
    if (kept.length) localStorage.setItem(place(user), JSON.stringify(kept));
    else localStorage.removeItem(place(user));
  } catch {
    // a browser that keeps nothing has its conversations until the page is closed
  }
}
