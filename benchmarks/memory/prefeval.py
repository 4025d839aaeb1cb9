"""What sentence embeddings alone, without a PersRM or an LLM, tell about real users' tastes, on data of others.

    python benchmarks/memory/prefeval.py --data FOLDER [--cache VECTORS.npz]

dsp_dev.jsonl: a user of one of four tastes chooses n times between the answer to their taste and another; which taste
is it? By both answers' cosine to each taste's wordings; the row `EmbeddingScorer` is what users get. Two rows learn a
residual gate from the choices, and ask it about the answers to twenty other questions.

prefeval_dev.jsonl: which of 4 preferences of one topic does a choice express, from the user's sentence or from the
option alone ("+0.5 passed over": half the mean of the options not taken is added, since a preference names what it
avoids too); and which of 20 or 100 stored preferences does a question call for (R@1 of 20, R@5 of 100)? The row
`condition` is what users get. The data has ten of PrefEval's twenty topics, so twice as many candidates are of the
question's own topic as in all of it; the last two columns draw them as rarely as there. Every variant that was tried
is a row.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pad_memory import EmbeddingScorer, SentenceEmbedder
from pad_memory.embedding import DEFAULT_MODEL
from pad_memory.evidence.affinity import sides
from pad_memory.evidence.scorer import embed_answers
from pad_memory.language import wanted
from pad_memory.profile.taste import residual

TASTES = {  # in words about the taste and in its voice
    "academy": """research; academic study; scientific evidence; scholars and universities; theory and methodology;
        literature review; references and citations; According to research published in peer-reviewed journals;
        It is important to consider the theoretical framework; Studies have shown; Scholars have argued that""",
    "business": """business; companies and customers; profit and revenue; market strategy; investors and stakeholders;
        competitive advantage; return on investment; Our company can increase profits and reach more customers;
        This strategy provides a competitive advantage in the market; From a business perspective;
        Investing in this will drive growth and revenue""",
    "entertainment": """entertainment; fun and excitement; movies and TV shows; celebrities and gossip; music and games;
        pop culture; comedy and jokes; Hey there! Get ready for an exciting adventure!;
        Like in a blockbuster movie, the stars come out; Grab some popcorn, this is going to be fun!;
        Just like your favorite superhero or pop star""",
    "literature": """literature; poetry; metaphor and imagery; novels and authors; storytelling; lyrical prose;
        characters and plot; In the words of the poet, the heart is a lonely sea;
        Once upon a time, as the moon rose over the silent hills; Like a rose unfolding its petals in the dawn;
        As Shakespeare wrote in his sonnets""",
}
PANEL = 20  # other questions that a gate is asked about
Vectors = Mapping[str, np.ndarray]


def rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSONL file; none, with a message, where it is missing."""
    if not path.is_file():
        print(f"skipped: there is no {path}; pass the folder that has it with --data")
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def embedded(texts: Sequence[str], cache: Path | None) -> dict[str, np.ndarray]:
    """Unit vectors of all texts, kept in `cache` between runs."""
    known: dict[str, np.ndarray] = {}
    if cache is not None and cache.is_file():
        with np.load(cache, allow_pickle=False) as packed:
            known = dict(zip(json.loads(str(packed["texts"])), packed["vectors"], strict=True))
    missing = sorted({text for text in texts if text not in known}, key=len)
    embedder = SentenceEmbedder()
    for start in range(0, len(missing), 256):
        batch = missing[start : start + 256]
        known.update(zip(batch, embedder.embed(batch), strict=True))
        if cache is not None:
            np.savez(cache, texts=json.dumps(list(known)), vectors=np.array(list(known.values())))
    return known


class Kept:
    """The default embedder, for texts whose vectors are known; for all others it is run and they are kept.

    Args:
        vectors: text → unit vector [E]; texts are added.
    """

    name = DEFAULT_MODEL

    def __init__(self, vectors: Vectors) -> None:
        self.vectors, self._embedder = dict(vectors), SentenceEmbedder()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if missing := [text for text in dict.fromkeys(texts) if text not in self.vectors]:
            self.vectors.update(zip(missing, self._embedder.embed(missing), strict=True))
        return np.array([self.vectors[text] for text in texts])


def unit(rows_NE: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    lengths: np.ndarray = np.linalg.norm(rows_NE, axis=-1, keepdims=True)
    return rows_NE / np.maximum(lengths, 1e-9)


def whitening(rows_NE: np.ndarray, shrink: float = 0.3) -> np.ndarray:
    """The matrix [E, E] that evens out the spread of some rows, shrunk towards none."""
    centred = rows_NE - rows_NE.mean(axis=0)
    values, basis_EE = np.linalg.eigh(centred.T @ centred / len(rows_NE))
    values = (1.0 - shrink) * values + shrink * values.mean()
    scaled: np.ndarray = basis_EE / np.sqrt(values) @ basis_EE.T
    return scaled


def dsp(data: list[dict[str, Any]], vectors: Vectors, trials: int = 2000) -> None:
    """Which of four tastes after 5 and 10 choices."""
    names = list(TASTES)
    answers_QTE = np.array([[vectors[row["responses"][name]] for name in names] for row in data])
    centred_QTE = answers_QTE - answers_QTE.mean(axis=1, keepdims=True)
    white_EE = whitening(centred_QTE.reshape(-1, centred_QTE.shape[-1]))
    name_TE = np.array([vectors[name] for name in names])
    parts_TE = np.array([np.mean([vectors[part] for part in wordings(name)], axis=0) for name in names])
    best_QTT = np.stack(
        [(answers_QTE @ np.array([vectors[part] for part in wordings(name)]).T).max(axis=-1) for name in names], axis=-1
    )
    mean_QTT = answers_QTE @ parts_TE.T
    kept, texts = Kept(vectors), [row["responses"][name] for row in data for name in names]
    sentences_QTE = embed_answers(kept, texts).reshape(answers_QTE.shape)
    scorer = EmbeddingScorer(kept, {name: wordings(name) for name in names})
    variants = {
        "taste by its name": answers_QTE @ name_TE.T,
        "mean over its wordings": mean_QTT,
        "best of its wordings": best_QTT,
        "mean, tastes scaled alike": (mean_QTT - mean_QTT.mean(axis=1, keepdims=True))
        / centred_QTE.dot(parts_TE.T).std((0, 1)),
        "mean, answers whitened": unit(answers_QTE @ white_EE) @ unit(parts_TE @ white_EE).T,
        "mean, answers by sentences": sentences_QTE @ parts_TE.T,
        "EmbeddingScorer": scorer.score_many([("", text) for text in texts], names).reshape(mean_QTT.shape),
    }
    print("rows: all / even / odd, after 5 and 10 choices each")
    for name, fit_QTT in variants.items():
        shares = [
            _dsp(fit_QTT[part], n, trials)
            for part in (slice(None), slice(0, None, 2), slice(1, None, 2))
            for n in (5, 10)
        ]
        print(f"{name:<34}" + "".join(f"{share:>8.3f}" for share in shares))

    features_QTE = scorer.vectors(texts).astype(np.float64).reshape(answers_QTE.shape)
    for name, fit_QTT in (
        ("θ, tastes known by answers", None),
        ("EmbeddingScorer and θ's own picks", variants["EmbeddingScorer"]),
    ):
        shares = [
            _dsp_by_gate(features_QTE[part], None if fit_QTT is None else fit_QTT[part], n, trials // 2)
            for part in (slice(None), slice(0, None, 2), slice(1, None, 2))
            for n in (5, 10)
        ]
        print(f"{name:<34}" + "".join(f"{share:>8.3f}" for share in shares))


def _dsp_by_gate(features_QTE: np.ndarray, fit_QTT: np.ndarray | None, choices: int, trials: int) -> float:
    """The same by a residual gate, learned from the choices and asked about the answers to `PANEL` other questions.

    Args:
        fit_QTT: as in `_dsp`: what the gate would pick there is read in the tastes' words, beside the choices. None:
            the taste is the one whose answers the gate likes best; it is known by answers then, and not by words.
    """
    rng, right = np.random.default_rng(0), 0
    for _ in range(trials):
        true = int(rng.integers(4))
        order = rng.permutation(len(features_QTE))
        asked, panel = order[:choices], order[choices : choices + PANEL]
        others = rng.choice([taste for taste in range(4) if taste != true], choices)
        x_NE = features_QTE[asked, true] - features_QTE[asked, others]
        theta_E, *_ = residual(x_NE, np.zeros(choices), np.ones(choices))
        liked_PT = features_QTE[panel] @ theta_E
        if fit_QTT is None:
            said_T = liked_PT.sum(axis=0)
        else:
            picked_PT = fit_QTT[panel, liked_PT.argmax(axis=1)] - fit_QTT[panel].mean(axis=1)
            said_T = (fit_QTT[asked, true] - fit_QTT[asked, others]).sum(axis=0) + picked_PT.sum(axis=0)
        right += int(said_T.argmax() == true)
    return right / trials


def _dsp(fit_QTT: np.ndarray, choices: int, trials: int) -> float:
    """How often the true taste comes out; `fit_QTT`[q, i, j]: the answer to taste i in the words of taste j."""
    rng, right = np.random.default_rng(0), 0
    for _ in range(trials):
        true = int(rng.integers(4))
        asked = rng.choice(len(fit_QTT), choices, replace=False)
        others = rng.choice([taste for taste in range(4) if taste != true], choices)
        right += int((fit_QTT[asked, true] - fit_QTT[asked, others]).sum(axis=0).argmax() == true)
    return right / trials


def wordings(name: str) -> list[str]:
    """A taste in words."""
    return [" ".join(part.split()) for part in TASTES[name].split(";")]


def prefeval(data: list[dict[str, Any]], vectors: Vectors) -> None:
    """Choice → preference, and question → stored preference."""

    def of(key: str) -> np.ndarray:
        return np.array([vectors[row[key]] for row in data])

    preference_NE, question_NE, chosen_NE = of("preference"), of("question"), of("aligned_option")
    said_NE = np.array([vectors[row["conversation"]["user_selection"]] for row in data])
    rest_NE = np.array(
        [np.mean([vectors[o] for o in row["options"] if o != row["aligned_option"]], axis=0) for row in data]
    )
    white_EE = whitening(preference_NE)
    topics = np.array([row["topic"] for row in data])
    print(f"\n{'PrefEval, 4-way within a topic':<46}{'sentence':>9}{'option':>9}")
    for name, use in {
        "cosine": lambda rows: rows,
        "candidates centred": lambda rows: rows - preference_NE.mean(axis=0),
        "whitened on the candidates": lambda rows: (rows - preference_NE.mean(axis=0)) @ white_EE,
    }.items():
        for share in (-0.5, 0.0, 0.25, 0.5, 1.0):
            shares = [
                four_way(use(source + share * rest_NE), use(preference_NE), topics) for source in (said_NE, chosen_NE)
            ]
            print(f"{f'{name}, {share:+g} passed over':<46}" + "".join(f"{s:>9.3f}" for s in shares))
    print(f"\n{'PrefEval, question → preference':<46}{'R@1/20':>9}{'R@5/100':>9}  the same, own topic 1 in 20")
    clause_max = clause_similarity(data, vectors, question_NE)
    centred = unit(question_NE - question_NE.mean(axis=0)) @ unit(preference_NE - preference_NE.mean(axis=0)).T
    white = (
        unit((question_NE - question_NE.mean(axis=0)) @ white_EE)
        @ unit((preference_NE - preference_NE.mean(axis=0)) @ white_EE).T
    )
    raw = question_NE @ preference_NE.T
    bend_wish, bend_question = sides("question", Kept(vectors))
    about_NE = Kept(vectors).embed([wanted(row["preference"])[0] for row in data])
    for name, similarity_NN in {
        "cosine": raw,
        "both centred": centred,
        "both whitened on the candidates": white,
        "best clause of the preference": clause_max,
        "mean of cosine and best clause": (raw + clause_max) / 2.0,
        "mean of centred and best clause": (centred + clause_max) / 2.0,
        "mean of whitened and centred": (white + centred) / 2.0,
        "condition": bend_question(question_NE) @ bend_wish(about_NE).T,
    }.items():
        shares = [recall(similarity_NN, *size, own) for own in (None, topics) for size in ((20, 1), (100, 5))]
        print(f"{name:<46}" + "".join(f"{share:>9.3f}" for share in shares))


def four_way(source_NE: np.ndarray, preference_NE: np.ndarray, topics: np.ndarray, rounds: int = 10) -> float:
    """How often the true preference is nearest among itself and three others of its topic."""
    rng = np.random.default_rng(0)
    similarity_NN = unit(source_NE) @ unit(preference_NE).T
    right = 0
    for _ in range(rounds):
        for row in range(len(topics)):
            others = np.flatnonzero((topics == topics[row]) & (np.arange(len(topics)) != row))
            right += int(similarity_NN[row, rng.choice(others, 3, replace=False)].max() < similarity_NN[row, row])
    return right / rounds / len(topics)


def clauses(text: str) -> list[str]:
    """A preference and its clauses of four words or more."""
    parts = [text]
    for mark in (". ", "; ", ", ", " and ", " but ", " because ", " or "):
        parts += [piece for piece in text.split(mark) if len(piece.split()) > 3]
    return list(dict.fromkeys(part.strip(" .") for part in parts))


def clause_similarity(data: list[dict[str, Any]], vectors: Vectors, question_NE: np.ndarray) -> np.ndarray:
    """The best cosine of each question with any clause of each preference: [N, N]."""
    columns = [(question_NE @ np.array([vectors[c] for c in clauses(row["preference"])]).T).max(axis=1) for row in data]
    return np.stack(columns, axis=1)


def recall(
    similarity_NN: np.ndarray, among: int, first: int, topics: np.ndarray | None = None, rounds: int = 10
) -> float:
    """How often the true preference is among the `first` nearest of `among`.

    The others are of any topic; with `topics`, each is of the question's own with a chance of 1 in 20.
    """
    rng = np.random.default_rng(0)
    right, everyone = 0, np.arange(len(similarity_NN))
    for _ in range(rounds):
        for row in range(len(similarity_NN)):
            if topics is None:
                others = rng.choice(np.delete(everyone, row), among - 1, replace=False)
            else:
                own = np.flatnonzero((topics == topics[row]) & (everyone != row))
                same = rng.choice(own, min(rng.binomial(among - 1, 1 / 20), len(own)), replace=False)
                rest = rng.choice(np.flatnonzero(topics != topics[row]), among - 1 - len(same), replace=False)
                others = np.concatenate([same, rest])
            right += int((similarity_NN[row, others] >= similarity_NN[row, row]).sum() < first)
    return right / rounds / len(similarity_NN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with prefeval_dev.jsonl and dsp_dev.jsonl")
    parser.add_argument("--cache", type=Path, default=None, help="keep the vectors in this .npz file")
    parser.add_argument("--only", choices=["prefeval", "dsp"], default=None, help="one of the two parts")
    options = parser.parse_args()
    if options.only != "dsp" and (data := rows(options.data / "prefeval_dev.jsonl")):
        data = [row for row in data if row.get("aligned_option") in row.get("options", ()) and row.get("conversation")]
        texts = [row[key] for row in data for key in ("preference", "question", "aligned_option")]
        texts += [text for row in data for text in (*row["options"], row["conversation"]["user_selection"])]
        texts += [clause for row in data for clause in clauses(row["preference"])]
        texts += [wanted(row["preference"])[0] for row in data]
        prefeval(data, embedded(texts, options.cache))
    if options.only != "prefeval" and (data := rows(options.data / "dsp_dev.jsonl")):
        texts = [text for row in data for text in row["responses"].values()]
        texts += [text for name in TASTES for text in (name, *wordings(name))]
        vectors = embedded(texts, options.cache)
        print("\nDSP, which of 4 tastes")
        dsp(data, vectors)


if __name__ == "__main__":
    main()
