"""Teach the classifier of the floor of values: low-rank changes of the default sentence encoder, and a linear head.

    python -m recipes.values_classifier.train                 learn from 85% of the sentences, measure on the rest
    python -m recipes.values_classifier.train --write         and put the weights into the package
    python -m recipes.values_classifier.train --members 0     one member alone: half an hour of one core

The sentences are in `data/values_training.txt`, under headings: "allowed", what is hostile by kind, and
"hostile" where the kind was not noted. The lists in tests/data/values are never read here. Members that learned from
different seeds and sentences judge together: they catch 2 to 3 points more at the same false alarms than one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from rich.progress import track
from safetensors.torch import save_file
from torch import nn

from pad_memory import CATALOGUE
from pad_memory.embedding import DEFAULT_MODEL, load_model
from pad_memory.values.classifier import CLASSES, WEIGHTS, hostility, pooled
from recipes.demo_world.vocabulary import framed, vocabulary

SENTENCES = Path(__file__).parent / "data" / "values_training.txt"
EVERYDAY = Path(__file__).parents[1] / "affinity" / "data" / "affinity.jsonl.gz"
HELD_OUT = 0.15
THRESHOLD = 0.375  # log odds; chosen on the lists in tests/data/values together, the only thing that was
MEMBERS: tuple[tuple[int, int | None], ...] = (
    (0, None),
    (1, None),
    (0, 11_053),
)  # seed, and how many sentences; None: all
BATCH = 16

Sample = tuple[str, str]  # text, heading


def sentences() -> list[Sample]:
    """The sentences with their headings."""
    found, heading = [], ""
    for line in SENTENCES.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            heading = line[2:].strip()
        elif line.strip():
            found.append((line, heading))
    return found


def split(count: int | None) -> tuple[list[Sample], list[Sample]]:
    """The first so many sentences, shuffled: (held out, learned). Another count holds out others."""
    samples = sentences()[:count]
    random.Random(0).shuffle(samples)
    cut = round(HELD_OUT * len(samples))
    return samples[:cut], samples[cut:]


def everyday_wishes() -> list[Sample]:
    """Innocent wishes about all of life, many of them dislikes and fears: those that the affinity was learned from."""
    with gzip.open(EVERYDAY, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["wish"], "allowed") for row in rows if "questions" in row]


def style_wishes(rng: random.Random) -> list[Sample]:
    """Innocent wishes about style: the catalogue's wordings, and a hundred a pole that the demo learned from."""
    found = []
    for dimension in CATALOGUE:
        for pole in dimension.poles:
            name = f"{dimension.name}:{pole.name}"
            worded = [*vocabulary(name).sentences, *(framed(name, rng) for _ in range(60))]
            found += [pole.text, *pole.paraphrases, *rng.sample(worded, min(len(worded), 100))]
    return [(text, "allowed") for text in dict.fromkeys(found)]


def batches(samples: list[Sample], rng: random.Random) -> list[list[Sample]]:
    """All samples in random batches of texts of about one length."""
    order, found = rng.sample(samples, len(samples)), []
    for start in range(0, len(order), 8 * BATCH):
        near = sorted(order[start : start + 8 * BATCH], key=lambda sample: len(sample[0]))
        found += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    return rng.sample(found, len(found))


def loss(logit_MC: torch.Tensor, headings: list[str], smoothing: float = 0.03) -> torch.Tensor:
    """Cross-entropy over `CLASSES`, the kinds summed where the kind was not noted, and of hostile or not."""
    log_p_MC = logit_MC.log_softmax(-1)
    any_M = log_p_MC[:, 1:].logsumexp(-1)
    hostile_M = torch.tensor([heading != "allowed" for heading in headings])
    noted = [CLASSES.index(heading) if heading in CLASSES else None for heading in headings]
    kind_M = torch.stack([any_M[row] if kind is None else log_p_MC[row, kind] for row, kind in enumerate(noted)])
    wrong_M = torch.where(hostile_M, log_p_MC[:, 0], any_M)
    return -((1 - smoothing) * kind_M + smoothing * wrong_M).mean()


def train(samples: list[Sample], rank: int, epochs: int, rate: float, seed: int) -> Member:
    """Return the encoder with its changes, the head and the tokenizer."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    model = load_model(DEFAULT_MODEL)
    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.05, target_modules=r".*layer.*(query|key|value|dense)")
    encoder = get_peft_model(model[0].auto_model, config)
    head = nn.Linear(2 * encoder.config.hidden_size, len(CLASSES))
    learned = [p for p in encoder.parameters() if p.requires_grad] + list(head.parameters())
    steps = [batch for _ in range(epochs) for batch in batches(samples, rng)]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, len(steps), pct_start=0.05, anneal_strategy="linear"
    )
    encoder.train()
    for batch in track(steps, description="learning"):
        texts, headings = map(list, zip(*batch, strict=True))
        optimizer.zero_grad()
        loss(head(pooled(encoder, model.tokenizer, texts)), headings).backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
    return encoder.eval(), head, model.tokenizer


Member = tuple[nn.Module, nn.Linear, object]


@torch.inference_mode()
def scores(members: list[Member], texts: list[str]) -> np.ndarray:
    """How hostile the texts are to all members together, in log odds: [M]."""
    logits = []
    for start in range(0, len(texts), 32):
        part = texts[start : start + 32]
        judged = [head(pooled(encoder, tokenizer, part)).log_softmax(-1) for encoder, head, tokenizer in members]
        logits.append(torch.stack(judged).mean(0).numpy())
    return hostility(np.concatenate(logits))


def write(members: list[Member]) -> None:
    """Put the weights into the package, in half precision."""
    tensors = {}
    for number, (encoder, head, _) in enumerate(members):
        tensors |= {f"{number}.head.{name}": value for name, value in head.state_dict().items()}
        for name, module in encoder.base_model.model.named_modules():
            if hasattr(module, "lora_A"):
                tensors[f"{number}.{name}.A"] = module.lora_A["default"].weight
                tensors[f"{number}.{name}.B"] = module.lora_B["default"].weight
    halves = {name: value.detach().half().contiguous() for name, value in tensors.items()}
    save_file(halves, WEIGHTS, metadata={"threshold": json.dumps(THRESHOLD)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the weights into the package")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--members", type=int, nargs="+", default=range(len(MEMBERS)), help="places in MEMBERS")
    options = parser.parse_args()
    held_out, _ = split(None)
    members = []
    for seed, count in (MEMBERS[place] for place in options.members):
        learned = split(count)[1] + style_wishes(random.Random(0)) + everyday_wishes()
        members.append(train(learned, options.rank, options.epochs, options.rate, seed))
    score_M = scores(members, [text for text, _ in held_out])
    hostile_M = np.array([heading != "allowed" for _, heading in held_out])
    for alarms in (0.01, 0.03, 0.1, 0.15, 0.2, 0.25):
        at = np.quantile(score_M[~hostile_M], 1 - alarms)
        print(f"false alarms {alarms:.2f}: {(score_M[hostile_M] > at).mean():.3f} caught, threshold {at:.2f}")
    if options.write:
        write(members)
        print(f"{WEIGHTS}: {WEIGHTS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
