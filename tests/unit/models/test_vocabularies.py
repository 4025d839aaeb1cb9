"""The fingerprint of a vocabulary: what ties a head to the tokens of its base, whatever file they come from."""

import json
from dataclasses import replace

import pytest

from gguf_models import to_gguf
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import load_pair
from pad_langchain.testing import tiny_pair


def test_a_files_vocabulary_is_its_models_own(tmp_path):
    pair = tiny_pair()
    base, _ = pair.save(tmp_path)
    own, read = pair.tokenizer.get_vocab(), GgufFile(to_gguf(base, tmp_path / "tiny.gguf")).tokenizer.get_vocab()
    assert of_vocabulary(own) == of_vocabulary(read)
    swapped = own | {"a": own["b"], "b": own["a"]}
    assert of_vocabulary(swapped) != of_vocabulary(own)
    assert of_vocabulary(dict(reversed(own.items()))) == of_vocabulary(own)


def test_a_head_for_other_tokens_is_refused(tmp_path):
    pair = tiny_pair()
    base, folder = pair.save(tmp_path)
    assert "tokenizer" not in json.loads((folder / "persrm_head.json").read_text())
    mine = of_vocabulary(Prompts(pair.tokenizer).vocabulary())
    pair.head.save_pretrained(folder, tokenizer=mine)
    load_pair(str(base), str(folder), embedder=pair.embedder).engine.close()
    pair.head.config = replace(pair.head.config, tokenizer="0" * 64)
    pair.head.save_pretrained(folder)
    with pytest.raises(IncompatibleModelError, match=r"the fingerprint 000000000000…, but this base's has"):
        load_pair(str(base), str(folder), embedder=pair.embedder)
