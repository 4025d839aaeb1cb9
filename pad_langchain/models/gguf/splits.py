"""How byte-level vocabularies split text before merging, under the names that GGUF files give (`tokenizer.ggml.pre`).

The expressions are those of the models' own tokenizers. llama.cpp writes two of them differently: beyond ASCII, its
"tekken" and "gpt-4o" do not distinguish capital letters from small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SPLITS", "Split"]


@dataclass(frozen=True)
class Split:
    """How text is cut into pieces that are merged separately.

    Args:
        patterns: expressions that split one after the other. What none of them matches stays whole.
        whole: whether a piece that is a token itself is taken without merging.
        composed: whether text is first brought into Unicode's form C. llama.cpp does not do so.
    """

    patterns: tuple[str, ...]
    whole: bool = False
    composed: bool = False


_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA_3 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN_2 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST
_QWEN_3_5 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LARGE, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASES = rf"[^\r\n\p{{L}}\p{{N}}]?{_LARGE}*{_SMALL}+%s|[^\r\n\p{{L}}\p{{N}}]?{_LARGE}+{_SMALL}*%s"
_CASES_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = _CASES % ("", "") + r"|\p{N}" + _CASES_REST
_GPT_4O = _CASES % (_ENDINGS + "?", _ENDINGS + "?") + r"|\p{N}{1,3}" + _CASES_REST
_DEEPSEEK_3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)

_FAMILIES = (
    (Split((_GPT_2,)), "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 gigachat a.x-4.0 mellum"),
    (Split((r"\p{N}", _GPT_2)), "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2"),
    (Split((_LLAMA_3,), whole=True), "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 glm4"),
    (Split((_LLAMA_3,)), "dbrx smaug-bpe chatglm-bpe"),
    (Split((_QWEN_2,), composed=True), "qwen2"),
    (Split((_QWEN_2,)), "deepseek-r1-qwen kormo megrez stablelm2 hunyuan solar-open grok-2"),
    (Split((_QWEN_3_5,), composed=True), "qwen35"),
    (Split((_TEKKEN,), whole=True), "tekken"),
    (Split((_GPT_4O,)), "gpt-4o llama4 kanana2 minimax-m2"),
    (Split(_DEEPSEEK_3), "deepseek-v3 hunyuan-dense joyai-llm"),
)
SPLITS = {name: split for split, names in _FAMILIES for name in names.split()}
