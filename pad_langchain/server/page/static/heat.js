// The heat map: what each token got as reward, in nats. Blue is for, orange against; both are told apart by everybody.

import { html } from "/page/vendor/htm-preact.js";

const STEPS = [0.1, 0.5, 1, 2]; // nats from which the four shades begin; from the third on there is an underline

/** The text as pieces, each with the token's reward. What no token accounts for has none. */
export function align(text, tokens) {
  const pieces = [];
  let at = 0;
  const take = (end, reward) => {
    if (end > at) pieces.push({ text: text.slice(at, end), reward });
    at = Math.max(at, end);
  };
  for (const { token, reward } of tokens) {
    const shown = text.startsWith(token, at) ? token : token.trim(); // spaces at the ends of an answer are cut off
    const found = shown ? text.indexOf(shown, at) : -1;
    if (found < 0 || found > at + 16) continue;
    take(found, null);
    take(found + shown.length, reward);
  }
  take(text.length, null);
  return pieces;
}

export function shade(reward) {
  const strength = STEPS.filter((step) => Math.abs(reward) >= step).length;
  return strength ? `heat ${reward > 0 ? "for" : "against"}${strength}` : "heat";
}

const nats = (reward) => reward == null ? "not known" : `${reward > 0 ? "+" : reward < 0 ? "−" : ""}${Math.abs(reward).toFixed(2)} nats`;

export const Heat = ({ text, tokens }) => html`
  <p class="text">${align(text, tokens).map(({ text, reward }) =>
    reward == null ? text : html`<span class=${shade(reward)} title=${nats(reward)}>${text}</span>`)}</p>
  <details class="numbers">
    <summary>Rewards as a table</summary>
    <table>
      <caption>Reward of each token</caption>
      <thead><tr><th scope="col">Token</th><th scope="col">Reward</th></tr></thead>
      <tbody>${tokens.map(({ token, reward }) => html`<tr><th scope="row">${token.trim() || "space"}</th><td>${nats(reward)}</td></tr>`)}</tbody>
    </table>
  </details>`;

export const Legend = () => html`
  <p class="legend">
    <span>Reward of a token, in nats:</span>
    ${[...STEPS].reverse().map((step) => html`<span class=${shade(-step)}>${"≤ −" + step}</span>`)}
    ${STEPS.map((step) => html`<span class=${shade(step)}>${"≥ +" + step}</span>`)}
  </p>`;
