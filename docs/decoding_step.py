"""Draw one decoding step of the demo pair, with the numbers of a true run.

python docs/decoding_step.py          writes docs/decoding-step.svg
"""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from pad_langchain import ChatPAD

QUESTION, WISH, BETA, K = "What is a lion?", "be concise and brief", 1.0, 10
ROW, TOP = 30, 232  # px of a row, and of where the rows begin
SHARE, NAT = 300, 40  # px of a probability of 1, and of one nat

STYLE = """
.card{fill:#f6f8fa;stroke:#d0d7de} .box{fill:#fff;stroke:#57606a} .ours{fill:#ddf4ff;stroke:#0969da}
.pick{fill:#dafbe1} .down{fill:#cf222e} .up{fill:#1a7f37} .base{fill:#57606a} .axis,.arrow{stroke:#57606a}
text{font:14px system-ui,sans-serif;fill:#1f2328} .mute{fill:#57606a} .mono{font-family:ui-monospace,monospace}
.head{font-weight:600} .mid{text-anchor:middle} .end{text-anchor:end} #tip path{fill:#57606a}
@media (prefers-color-scheme:dark){
.card{fill:#161b22;stroke:#30363d} .box{fill:#0d1117;stroke:#8b949e} .ours{fill:#12243d;stroke:#58a6ff}
.pick{fill:#12381f} .down{fill:#f85149} .up{fill:#3fb950} .base{fill:#8b949e} .axis,.arrow{stroke:#8b949e}
text{fill:#e6edf3} .mute{fill:#9198a1} #tip path{fill:#8b949e}}
"""


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>'


def box(x: int, y: int, width: int, title: str, below: str, kind: str = "box") -> str:
    middle = x + width / 2
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="52" rx="6" class="{kind}"/>'
    return frame + text(middle, y + 22, title, "head mid") + text(middle, y + 41, below, "mute mid")


def arrow(*points: tuple[int, int]) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" class="arrow" stroke-width="1.5" marker-end="url(#tip)"/>'


def bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect x="{x + min(width, 0):.1f}" y="{y}" width="{abs(width):.1f}" height="14" class="{kind}"/>'


def diagram() -> list[str]:
    """The models above: who reads what."""
    return [
        box(24, 24, 214, "conversation", f"“{QUESTION}”"),
        box(290, 24, 160, "base", "open weights"),
        box(516, 24, 290, "candidates", "the k likeliest tokens, log p each"),
        box(24, 112, 214, "condition", f"+1.0 “{WISH}”"),
        box(290, 112, 160, "PersRM", "a head: U, V, gate", "ours"),
        box(516, 112, 290, "rewards", "log PersRM − log base, each candidate", "ours"),
        *(arrow((left, y), (right, y)) for y in (50, 138) for left, right in ((238, 282), (450, 508))),
        arrow((370, 76), (370, 104)),
        text(379, 95, "hidden state", "mute"),
        arrow((661, 76), (661, 104)),
    ]


def table(candidates: list[tuple[str, float, float]]) -> list[str]:
    """The step below: probability, reward, guided probability of each candidate, the base's favourite first."""
    weights = [math.exp(logprob + BETA * reward) for _, logprob, reward in candidates]
    best, total = weights.index(max(weights)), sum(weights)
    drawn = [text(36, TOP - 14, "token", "head"), text(150, TOP - 14, "p, base", "head")]
    drawn += [text(385, TOP - 14, "reward r, nats", "head"), text(590, TOP - 14, "p · exp(β r), guided", "head")]
    for row, (token, logprob, reward) in enumerate(candidates):
        y = TOP + row * ROW
        if row == best:
            drawn.append(f'<rect x="24" y="{y - 5}" width="782" height="{ROW - 4}" rx="4" class="pick"/>')
        p, guided = math.exp(logprob), weights[row] / total
        drawn += [text(36, y + 13, token + " ✓" * (row == best), "mono"), bar(195, y + 1, p * SHARE, "base")]
        drawn += [text(187, y + 13, f"{p:.2f}", "end"), text(422, y + 13, f"{reward:+.2f}".replace("-", "−"), "end")]
        drawn += [bar(520, y + 1, reward * NAT, "up" if reward > 0 else "down")]
        drawn += [text(622, y + 13, f"{guided:.2f}", "end"), bar(630, y + 1, guided * SHARE, "base")]
    return drawn


def main() -> None:
    llm = ChatPAD(max_tokens=1, beta=BETA, top_k=K)
    answer = llm.invoke(QUESTION, preference=WISH, logprobs=True, top_logprobs=K)
    weighed = answer.response_metadata["logprobs"]["content"][0]["top_logprobs"]
    candidates = sorted(((one["token"], one["logprob"], one["reward"]) for one in weighed), key=lambda one: -one[1])
    height = TOP + len(candidates) * ROW + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 830 {height}" role="img" aria-labelledby="title">',
        "<title id='title'>One decoding step: base, candidates, rewards, scores</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect x="1" y="1" width="828" height="{height - 2}" rx="10" class="card"/>',
        *diagram(),
        *table(candidates),
        "</svg>",
    ]
    Path(__file__).with_name("decoding-step.svg").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
