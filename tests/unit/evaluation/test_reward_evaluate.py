"""The evaluation on a tiny base: judges, what is kept, what is chosen, and the report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from langchain_core.language_models import FakeListChatModel

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.answers import Answer, Kept, request_of
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.config import EvaluateConfig, Setting
from pad_langchain.evaluation.contenders import Contenders
from pad_langchain.evaluation.grading import Grader
from pad_langchain.evaluation.judges import LLMJudge, RewardModelJudge, RuleJudge, make_judge
from pad_langchain.evaluation.run import best_setting, evaluate
from pad_langchain.evaluation.statistics import distinct, interval, pareto_front
from pad_langchain.persrm.files import write_value_head
from pad_langchain.persrm.head import VectorHead
from pad_langchain.testing import HashEmbedder, tiny_model, tiny_pair, tiny_tokenizer
from recipes.demo_world.judges import DemoFactsJudge, DemoFormJudge, DemoJudge

CASE = Case(({"role": "user", "content": "what is tea?"},), "length:concise", "be concise")
PREFERENCES = {"short": ("be brief", "keep it short"), "wordy": ("write a lot; use many words", "ramble on")}
RULES = {"kind": "rules", "rules": {"short": {"max_words": 12}, "wordy": {"min_words": 13}}}


@pytest.fixture(scope="module")
def prompts_and_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    tiny_pair().save(folder)
    rows = [{"prompt": f"what is number {n}?"} for n in range(12)]
    rows[3]["preference"] = "wordy"
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [
        {"prompt": "tea?", "preference": "be brief", "chosen": "yes", "rejected": "yes it is"},
        {"prompt": "tea?", "preference": "write a lot; use many words", "chosen": "yes it is", "rejected": "yes"},
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return folder


def config_of(folder: Path, output: Path, **changes: Any) -> EvaluateConfig:
    settings: dict[str, Any] = {
        "base": str(folder / "base"),
        "head": str(folder / "persrm"),
        "output": str(output),
        "prompts": str(folder / "prompts.jsonl"),
        "pairs": str(folder / "pairs.jsonl"),
        "preferences": PREFERENCES,
        "judges": (RULES,),
        "labels": ("plain",),
        "unseen": ("wordy",),
        "betas": (0.0, 1.0, 3.0),
        "ks": (10, 4),
        "pareto": ("short", "wordy"),
        "again": 3,
        "max_tokens": 12,
        "device": "cpu",
        "fluency": 1e9,
    }
    return EvaluateConfig(**settings | changes)


class Picky:
    """Prefers the longer answer, and fails on every third question."""

    name, scores = "picky", False

    def __init__(self) -> None:
        self.asked = 0

    def compare(self, case: Case, first: str, second: str) -> float:
        self.asked += 1
        if self.asked % 3 == 0:
            raise TimeoutError("too slow")
        return 0.5 if len(first) == len(second) else float(len(first) > len(second))


def test_an_evaluation_reports_everything_and_goes_on_where_it_was(prompts_and_pairs: Path, tmp_path: Path) -> None:
    config = config_of(prompts_and_pairs, tmp_path)
    judges = [make_judge(RULES), picky := Picky()]
    path = evaluate(config, judges=judges, embedder=HashEmbedder())
    text, found = path.read_text(), json.loads((tmp_path / "report.json").read_text())
    assert set(found["test"]) == {"base", "prompted", "head", "pad+prompt", "self"}  # there is no text PersRM
    assert found["cases"]["validation"] + found["cases"]["test"] == 12
    swept = [(row["beta"], row["top_k"]) for row in found["sweep"] if row["method"] == "head"]
    assert swept[:3] == [(0, 10), (1, 10), (3, 10)]
    unguided = next(row for row in found["sweep"] if row["method"] == "head" and row["beta"] == 0)
    assert {**unguided, "method": "base"} == found["sweep"][0]
    head = found["test"]["head"]
    groups = head["by_preference"]
    assert set(groups) == {"seen", "unseen", "short", "wordy"}
    assert groups["unseen"] == groups["wordy"]
    assert groups["short"][3] + groups["wordy"][3] == found["cases"]["test"]
    assert head["memory_gib"] > 0
    assert set(found["paraphrases"]["head"]) == {"plain", "wording 2"}
    assert head["against base"]["rules"]["judged"] == found["cases"]["test"]
    strong = next(row for row in found["sweep"] if row["method"] == "head" and row["beta"] == 3)
    assert strong["perplexity"] != unguided["perplexity"]
    assert 0 < head["tokens"] <= 12
    assert found["failed_verdicts"]["picky"] == picky.asked // 3 > 0
    judged = [each["against base"]["picky"]["judged"] for name, each in found["test"].items() if name != "base"]
    assert min(judged) < found["cases"]["test"]
    assert f"'picky': {picky.asked // 3}" in text
    assert {"report.md", "report.json", "beta.png", "k.png", "pareto.png"} <= {file.name for file in tmp_path.iterdir()}
    assert [point["weight"] for point in found["pareto"]["points"] if point["method"] == "head"] == [
        0,
        0.25,
        0.5,
        0.75,
        1,
    ]
    assert set(found["accuracy"]["head"]["by_preference"]) == {"be brief", "write a lot; use many words"}
    assert found["accuracy"]["head"]["by_preference"]["be brief"]["paraphrased"][1] == 1
    for heading in ("In short", "Pairwise accuracy", "Test", "In other words", "Two preferences at once", "Validation"):
        assert f"\n## {heading}" in text
    for method in found["test"]:
        assert f"\n- **{method}** " in text

    # again: nothing is decoded twice, and a pairwise judge is asked for what it failed on alone
    lines, asked = (tmp_path / "answers.jsonl").read_text(), picky.asked
    answered = len((tmp_path / "verdicts.jsonl").read_text().splitlines())
    ticks: list[str] = []
    evaluate(
        config, judges=judges, embedder=HashEmbedder(), progress=lambda stage, *_: ticks.append(stage.split(" ")[0])
    )
    assert (tmp_path / "answers.jsonl").read_text() == lines
    assert set(ticks) == {"accuracy"}
    assert picky.asked - asked < answered


def test_a_prompt_longer_than_the_context_is_left_out_and_reported(prompts_and_pairs: Path, tmp_path: Path) -> None:
    rows = (prompts_and_pairs / "prompts.jsonl").read_text().splitlines()
    rows[5] = json.dumps({"prompt": "what is tea? " * 500})
    fits = json.dumps({"prompt": "tea? " * 3})
    (tmp_path / "prompts.jsonl").write_text("\n".join([*rows, fits]))
    changes = {"prompts": str(tmp_path / "prompts.jsonl"), "pairs": (), "betas": (1.0,), "ks": (10,), "pareto": ()}
    path = evaluate(config_of(prompts_and_pairs, tmp_path, **changes), embedder=HashEmbedder())
    found = json.loads((tmp_path / "report.json").read_text())
    assert [line for line, _ in found["left_out"]] == [6]
    assert sum(found["cases"].values()) == 12
    assert "\nLeft out, line 6: The prompt has " in path.read_text()


def test_a_method_decodes_as_its_persrm_recommends(prompts_and_pairs: Path, tmp_path: Path) -> None:
    best = {"top_k": 6, "alpha": 0.1, "wish_place": "user", "repetition_penalty": 1.2, "no_repeat_ngram": 3}
    VectorHead.from_pretrained(prompts_and_pairs / "persrm").save_pretrained(tmp_path / "persrm", **best)
    config = config_of(prompts_and_pairs, tmp_path, head=str(tmp_path / "persrm"), pairs=())
    with Contenders(config, HashEmbedder()) as contenders:
        setting = contenders.setting("pad+prompt", 2.0, None, None)
        assert setting == Setting("pad+prompt", 2.0, 6, 0.1, 1.2, 3, "user")
        assert contenders.setting("head", 2.0, 4, 0.0).top_k == 4
        assert contenders.setting("self", 2.0, None, None) == Setting("self", 2.0, 50, 0.001, wish_place="user")
    request = request_of(CASE, [("be brief", 1.0)], setting, {}, 12)
    assert request.messages[-1]["content"].endswith(" (Be brief.)")
    assert [message["role"] for message in request.messages] == ["user"]
    assert (request.top_k, request.repetition_penalty, request.no_repeat_ngram) == (6, 1.2, 3)
    both = request_of(CASE, [("be brief", 1.0)], dataclasses.replace(setting, wish_place="both"), {}, 12)
    assert [message["role"] for message in both.messages] == ["system", "user"]


def test_perplexity_is_the_plain_bases(prompts_and_pairs: Path, tmp_path: Path) -> None:
    model, tokenizer, text = tiny_model(), tiny_tokenizer(), "a hot drink"
    ids = tokenizer.encode(
        "<|im_start|>user\nwhat is tea?<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False
    )
    said = tokenizer.encode(text, add_special_tokens=False)
    with torch.no_grad():
        logprobs_TV = model(torch.tensor([ids + said])).logits[0].log_softmax(-1)
    summed = sum(float(logprobs_TV[len(ids) + n - 1, token]) for n, token in enumerate(said))
    with Contenders(config_of(prompts_and_pairs, tmp_path), HashEmbedder()) as contenders:
        found = contenders.perplexity([CASE, CASE], [Answer(text, 3, True, 1.0), Answer("", 0, True, 1.0)])
        assert np.isnan(contenders.perplexity([CASE], [Answer("", 0, True, 1.0)]))
    assert found == pytest.approx(np.exp(-summed / len(said)), rel=1e-3)


def test_what_a_stopped_run_had_answered_is_not_asked_again(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept.jsonl")
    kept.put("a", [1])
    kept.put("b", [2])
    with (tmp_path / "kept.jsonl").open("a") as stream:
        stream.write('["c", [')  # killed
    again = Kept(tmp_path / "kept.jsonl")
    assert (again.get("a"), again.get("b"), again.get("c")) == ([1], [2], None)
    again.put("d", [4])
    assert Kept(tmp_path / "kept.jsonl").get("d") == [4]


def test_beta_is_the_best_of_the_fluent_and_of_equals_the_gentlest() -> None:
    def measured(score: float, perplexity: float) -> dict[str, Any]:
        return {"scores": {"rules": (score, 0, 1)}, "perplexity": perplexity}

    tried = [
        (Setting("head", 0.5), measured(0.7, 2)),
        (Setting("head", 1.0), measured(0.9, 3)),
        (Setting("head", 2.0), measured(0.9, 4)),
        (Setting("head", 4.0), measured(1.0, 50)),
    ]
    assert best_setting(tried, 10).beta == 1.0
    assert best_setting(tried, 100).beta == 4.0


def test_rules_and_the_demos_rules_read_the_text_alone() -> None:
    judge = RuleJudge({"length:concise": {"max_words": 3, "pattern": "[a-z]", "absent": "!"}})
    assert [judge.score(CASE, text) for text in ("a b c", "a b c d", "a!", "1", "")] == [1, 0, 0, 0, 0]
    assert judge.compare(CASE, "a b c d", "a") == 0.0
    assert judge.compare(CASE, "a", "b") == 0.5
    long = " ".join(["Tea is a drink from leaves."] * 8)
    assert (DemoJudge().score(CASE, "Tea is a drink."), DemoJudge().score(CASE, long)) == (1.0, 0.0)
    with pytest.raises(InvalidRequestError, match="no rule for 'tone'"):
        judge.score(Case(CASE.messages, "tone", "x"), "a")


def test_the_demos_judges_read_several_wishes_and_the_facts_of_what_was_asked() -> None:
    both = Case(({"role": "user", "content": "Tell me about France."},), "length:concise+emoji:emoji", "x; y")
    assert [DemoJudge().score(both, text) for text in ("It is nice. 😀", "It is nice.")] == [1.0, 0.5]
    facts, form = DemoFactsJudge(), DemoFormJudge()
    assert facts.score(both, "France is a country in Europe. France is a country in Asia.") == 0.5
    assert form.score(both, "France is a country in Europe. A lion of purple.") == 0.5
    with pytest.raises(InvalidRequestError, match="names nothing"):
        facts.score(CASE, "Tea is a drink.")


class Model:
    """A chat model that answers what it is told to."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.prompts = list(replies), []  # type: ignore[var-annotated]

    def invoke(self, prompt: str) -> Any:
        self.prompts.append(prompt)
        return SimpleNamespace(text=self.replies.pop(0))


@pytest.mark.parametrize(
    ("replies", "verdict"),
    [(("A", "B"), 1.0), (("B.", "Answer A"), 0.0), (("A", "A"), 0.5), (("tie", "TIE"), 0.5), (("A", "TIE"), 0.5)],
)
def test_an_llm_judges_both_orders(replies: Sequence[str], verdict: float) -> None:
    model = Model(*replies)
    assert LLMJudge(model).compare(CASE, "left text", "right text") == verdict
    first, second = model.prompts
    assert first.index("left text") < first.index("right text")
    assert second.index("right text") < second.index("left text")
    assert LLMJudge(FakeListChatModel(responses=list(replies))).compare(CASE, "left", "right") == verdict
    with pytest.raises(InvalidRequestError, match="not A, B or TIE"):
        LLMJudge(Model("Well, both are fine.")).compare(CASE, "a", "b")


def test_a_reward_model_reads_conversation_and_answer() -> None:
    from transformers import LlamaForSequenceClassification

    config = tiny_model().config
    config.num_labels = 1
    judge = RewardModelJudge(LlamaForSequenceClassification(config).eval(), tiny_tokenizer(), device="cpu")
    scores = [judge.score(CASE, text) for text in ("a drink", "a hot drink")]
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]
    other = Case(CASE.messages, CASE.name, "be formal")
    assert judge.score(other, "a drink") != scores[0]
    judge.tell = False
    assert judge.score(other, "a drink") == judge.score(CASE, "a drink")


def test_statistics() -> None:
    mean, low, high = interval([0.0, 1.0] * 50)
    assert (mean, round(low, 1), round(high, 1)) == (0.5, 0.4, 0.6)
    assert interval([2.0])[1:] == (2.0, 2.0)
    assert np.isnan(interval([])[0])
    assert distinct(["a b a b", "a b"]) == 0.5
    assert pareto_front([(0, 3), (1, 2), (0, 2), (2, 0), (1, 2)]) == [0, 1, 3, 4]


def test_settings_are_checked(prompts_and_pairs: Path, tmp_path: Path) -> None:
    for changes, message in [
        ({"methods": ("base", "magic")}, "methods have to be of"),
        ({"validation": 0.0}, "validation has to be greater than 0, but is 0.0"),
        ({"pareto": ("short",)}, "two preferences"),
        ({"pareto": ("short", "tall")}, "pareto names .*'tall'"),
        ({"unseen": ("tall",)}, "unseen names .*'tall'"),
    ]:
        with pytest.raises(InvalidRequestError, match=message):
            config_of(prompts_and_pairs, tmp_path, **changes)
    with pytest.raises(InvalidRequestError, match="has to be a JSONL file"):
        evaluate(
            config_of(prompts_and_pairs, tmp_path, pairs=(), prompts=str(tmp_path / "none.jsonl")),
            embedder=HashEmbedder(),
        )
    with pytest.raises(InvalidRequestError, match="needs a judge"):
        evaluate(config_of(prompts_and_pairs, tmp_path, judges=()), embedder=HashEmbedder())
    text = tmp_path / "text"
    tiny_model().save_pretrained(text)
    tiny_tokenizer().save_pretrained(text)
    write_value_head(torch.nn.Linear(tiny_model().config.hidden_size, tiny_model().config.hidden_size), text)
    with pytest.raises(InvalidRequestError, match="head has to be a head PersRM"):
        Contenders(config_of(prompts_and_pairs, tmp_path, head=str(text)), HashEmbedder())
    with pytest.raises(InvalidRequestError, match="names of their own"):
        Grader([make_judge(RULES), make_judge(RULES)])
    read = EvaluateConfig(base="b", output="o", prompts="p", betas=["5e-1", 1], pairs=["q"])
    assert (read.betas, read.pairs[0].source) == ((0.5, 1.0), "q")


def test_a_judge_of_yours_is_named_by_where_it_is() -> None:
    judge = make_judge({"kind": "recipes.demo_world.judges:DemoJudge"})
    assert (judge.name, judge.scores) == ("demo rules", True)
    ruled = make_judge({**RULES, "kind": "pad_langchain.evaluation.judges:RuleJudge", "name": "mine"})
    assert ruled.name == "mine"
    for settings, message in [
        ({"kind": "oracle"}, "kind of a judge has to be one of .*'module:name'.* but is 'oracle'"),
        ({"kind": "nowhere.at_all:Judge"}, "no judge 'nowhere.at_all:Judge': No module"),
        ({"kind": "recipes.demo_world.judges:Oracle"}, "no judge .*Oracle"),
        ({"kind": "rules", "rule": {}}, "other settings"),
        ({"kind": "recipes.demo_world.judges:DemoJudge", "strict": True}, "other settings"),
        ({"kind": "llm"}, "other settings"),
    ]:
        with pytest.raises(InvalidRequestError, match=message):
            make_judge(settings)


def test_a_grader_without_a_file_asks_a_pairwise_judge_each_time() -> None:
    grader, said = Grader([picky := Picky()]), [Answer("a", 1, True, 1.0), Answer("b c", 2, True, 1.0)]
    assert grader.first is None
    cases = [CASE, CASE]
    assert grader.win_rate(picky, cases, said, said) == {"won": (0.5, 0.5, 0.5), "ties": 1.0, "judged": 2}
    assert grader.win_rate(picky, cases, said, said[::-1])["judged"] == 1
    assert grader.failures == {"picky": 1}
