"""What is no wish of style: written out whole, no wording of a pole, and without effect on the shipped head."""

from __future__ import annotations

import torch

from pad_langchain.adapt.lessons.remarks import REMARKS
from pad_langchain.adapt.poles import of_catalogue
from pad_langchain.defaults import HEADS, SMOLLM2_MODEL
from pad_langchain.persrm.head import VectorHead
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import SentenceEmbedder
from pad_memory.language import embed_wishes

UNSEEN = (
    "the bakery downstairs smells of bread",
    "half the office has the flu",
    "which reminds me of my uncle",
    "two of my friends are coming over",
    "as a child I lived on a farm",
    "no idea where my glasses are",
    "I cut my finger",
    "there is a wasp in the kitchen",
)


def test_every_remark_is_written_out_once():
    assert len(set(REMARKS)) == len(REMARKS) > 200
    assert not [remark for remark in REMARKS if set("{|}") & set(remark) or remark != " ".join(remark.split())]
    assert {"my son is five", "my daughter starts school soon", "I am from Poland"} <= set(REMARKS)


def test_no_remark_is_a_wish_that_the_catalogue_knows():
    wishes = {text.lower() for each in CATALOGUE for pole in each.poles for text in (pole.text, *pole.paraphrases)}
    assert not wishes & {remark.lower() for remark in REMARKS}


def test_the_shipped_head_is_steered_by_wishes_and_not_by_remarks():
    head = VectorHead.from_pretrained(HEADS[SMOLLM2_MODEL])
    embedder = SentenceEmbedder(head.config.embedder)

    def lengths(texts) -> torch.Tensor:
        with torch.inference_mode():
            vectors_NE = torch.from_numpy(embed_wishes(embedder, list(texts)))
            return head.gates(vectors_NE, by_strength=False).norm(dim=1)

    wishes = lengths(each.poles[side].text for each in of_catalogue() for side in (0, 1))
    assert lengths(UNSEEN).median() < 0.2 * wishes.min()
    assert lengths(UNSEEN).max() < 0.5 * wishes.min()
