"""The processor against fake runners: right rows, right scores, and nothing else of the batch is touched."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vllm_fakes
from naive_reference import with_repeats
from pad_langchain.arithmetic.head import steer
from pad_langchain.arithmetic.head_file import read_weights
from pad_langchain.arithmetic.scoring import plausible_candidates, score_candidates
from vllm_fakes import BatchUpdate, FakeConfig, FakeHead, FakeModel, MoveDirectionality, Params, States, context
from vllm_parts import D, R, V, Worker, save_head

SWAP, MOVE = MoveDirectionality.SWAP, MoveDirectionality.UNIDIRECTIONAL


def asked(seed: int, **changes: Any) -> Params:
    """A request with a gate of its own."""
    gate = np.random.default_rng(seed).normal(size=R).astype(np.float32)
    return Params({"pad_gate": gate.astype(float).tolist(), **changes})


def expected(worker: Worker, folder: Path, params: Params, hidden_D: torch.Tensor, logits_V: torch.Tensor) -> Any:
    """What pad-langchain's engine makes of one row: the guided scores, -inf but for the candidates."""
    said = {"pad_beta": 1.5, "pad_alpha": 0.01, "pad_top_k": 10, **(params.extra_args or {})}
    weights = read_weights(folder)
    gate_1R = torch.tensor([said["pad_gate"]])
    found = plausible_candidates(logits_V[None], torch.tensor([said["pad_top_k"]]), torch.tensor([said["pad_alpha"]]))
    steered_1D = steer(hidden_D[None], gate_1R, weights["U_RD"], weights["V_DR"])
    guide_1V, own_1V = (
        torch.nn.functional.linear(each, worker.head.weight, worker.bias) for each in (steered_1D, hidden_D[None])
    )
    cap, scale = worker.layer.soft_cap, worker.layer.scale
    guide_1V, own_1V = ((each if cap is None else (each / cap).tanh() * cap) * scale for each in (guide_1V, own_1V))
    scores = score_candidates(
        found,
        guide_1V.gather(1, found.tokens_BK),
        torch.tensor([said["pad_beta"]]),
        reference_GK=own_1V.gather(1, found.tokens_BK),
    )
    return torch.full_like(logits_V, -torch.inf).scatter(0, found.tokens_BK[0], scores.scores_BK[0])


def check(worker: Worker, folder: Path, rows: list[Params], changed_BV: torch.Tensor, step: Any) -> None:
    """Guided rows have our scores, plain ones the very bits of the base."""
    hidden_BD, logits_BV = step
    for row, params in enumerate(rows):
        if "pad_gate" in (params.extra_args or {}):
            wanted_V = expected(worker, folder, params, hidden_BD[row], logits_BV[row])
            torch.testing.assert_close(changed_BV[row], wanted_V, atol=1e-4, rtol=1e-5)
            assert int(changed_BV[row].argmax()) == int(wanted_V.argmax())
        else:
            assert torch.equal(changed_BV[row], logits_BV[row])


def run(worker: Worker, folder: Path, rows: list[Params], ctx: Any = None) -> None:
    hidden_BD, logits_BV = worker.step(len(rows))
    more = () if ctx is None else (ctx,)
    check(worker, folder, rows, worker.processor.apply(logits_BV.clone(), *more), (hidden_BD, logits_BV))


def update(worker: Worker, size: int, removed: Any = (), added: Any = (), moved: Any = ()) -> None:
    rows = [(row, params, [1, 2], []) for row, params in added]
    worker.processor.update_state(BatchUpdate(size, removed, rows, moved))


def test_mixed_rows_have_the_scores_of_our_own_arithmetic(worker: Worker, persrm: Path) -> None:
    rows = [
        asked(0),
        Params(),
        asked(1, pad_beta=-3.0, pad_top_k=2),
        asked(2, pad_alpha=0.0, pad_top_k=V),
        Params(),
        asked(3, pad_alpha=1.0),
    ]
    update(worker, len(rows), added=list(enumerate(rows)))
    for _ in range(3):
        worker.processor.update_state(None)
        run(worker, persrm, rows)


@pytest.mark.parametrize("layer", [{"soft_cap": 5.0}, {"scale": 0.25}, {"soft_cap": 3.0, "scale": 2.0}])
def test_soft_cap_and_scale_act_on_both_sides_of_a_reward(vllm: None, persrm: Path, layer: dict) -> None:
    worker = Worker(**layer)
    rows = [asked(0), Params(), asked(1)]
    update(worker, 3, added=list(enumerate(rows)))
    run(worker, persrm, rows)


def test_a_mask_that_came_before_stays(worker: Worker, persrm: Path) -> None:
    rows = [asked(0, pad_alpha=0.0), asked(1)]
    update(worker, 2, added=list(enumerate(rows)))
    hidden_BD, logits_BV = worker.step(2)
    logits_BV[0, 4:] = -torch.inf  # four legal tokens of ten wanted
    changed_BV = worker.processor.apply(logits_BV.clone())
    assert torch.isfinite(changed_BV[0]).sum() == 4
    check(worker, persrm, rows, changed_BV, (hidden_BD, logits_BV))


def test_rows_follow_removals_moves_swaps_and_slots_that_are_used_again(worker: Worker, persrm: Path) -> None:
    a, b, c, plain = asked(0), asked(1), asked(2, pad_beta=4.0), Params()
    update(worker, 4, added=[(0, a), (1, plain), (2, b), (3, c)])
    run(worker, persrm, [a, plain, b, c])
    update(worker, 3, removed=[0], moved=[(3, 0, MOVE)])  # the last row fills the hole
    run(worker, persrm, [c, plain, b])
    update(worker, 3, moved=[(0, 1, SWAP)])
    run(worker, persrm, [plain, c, b])
    update(worker, 3, added=[(1, plain)])  # a plain request in a guided one's row
    run(worker, persrm, [plain, plain, b])
    update(worker, 3, added=[(1, a)], moved=[(1, 2, SWAP), (0, 1, MOVE)])
    update(worker, 3, added=[(0, c)])
    run(worker, persrm, [c, plain, a])


def test_any_history_of_v1_leaves_the_right_rows(worker: Worker, persrm: Path) -> None:
    """Requests come, end, are preempted and added again, as the runner's own rules have it."""
    draw = random.Random(7)
    kinds = [Params() if seed % 3 == 0 else asked(seed, pad_beta=0.5 + seed) for seed in range(9)]
    rows: list[Params] = []
    for _ in range(120):
        gone = sorted(draw.sample(range(len(rows)), draw.randint(0, len(rows))))
        new = [draw.choice(kinds) for _ in range(draw.randint(0, 4))]
        added, moved = [], []
        free = list(gone)
        for params in new:  # new requests take free rows first, then the end
            row = free.pop(0) if free else len(rows)
            rows[row : row + 1] = [params]
            added.append((row, params))
        removed = list(free)
        while free:  # the rest is condensed: last rows fill the holes
            last = len(rows) - 1
            if last in free:
                free.remove(last)
            else:
                hole = free.pop(0)
                rows[hole] = rows[last]
                moved.append((last, hole, MOVE))
            rows.pop()
        if len(rows) > 1 and draw.random() < 0.5:
            one, two = draw.sample(range(len(rows)), 2)
            rows[one], rows[two] = rows[two], rows[one]
            moved.append((one, two, SWAP))
        update(worker, len(rows), removed, added, moved)
        if rows:
            run(worker, persrm, rows)


def costing(params: Params, penalty: float = 1.4, ngram: int = 0) -> Params:
    """The same request, whose repeats cost something."""
    said = {"pad_repetition_penalty": penalty, "pad_no_repeat_ngram": ngram}
    return Params({**(params.extra_args or {}), **said})


def check_costs(worker: Worker, folder: Path, rows: list[tuple[Params, list[int]]], ctx: Any = None) -> None:
    """A step's rows, each with the tokens of its answer, are what the naive loop and our arithmetic make of them."""
    hidden_BD, logits_BV = worker.step(len(rows))
    changed_BV = worker.processor.apply(logits_BV.clone(), *(() if ctx is None else (ctx,)))
    costed_BV = logits_BV.clone()
    for row, (params, answer) in enumerate(rows):
        said = params.extra_args or {}
        if "pad_repetition_penalty" in said:
            costs = said["pad_repetition_penalty"], said["pad_no_repeat_ngram"]
            costed_BV[row] = torch.tensor(with_repeats(logits_BV[row].tolist(), answer, *costs))
            if "pad_gate" not in said:
                torch.testing.assert_close(changed_BV[row], costed_BV[row], atol=0, rtol=1e-6)
                changed_BV[row] = costed_BV[row]
    check(worker, folder, [params for params, _ in rows], changed_BV, (hidden_BD, costed_BV))


def test_repeats_of_the_answer_cost_before_candidates_are_taken(worker: Worker, persrm: Path) -> None:
    rows = [costing(asked(0)), Params(), costing(Params(), 2.0, 1), asked(1), costing(asked(2, pad_top_k=V), 1.0, 2)]
    answers: list[list[int]] = [[], [], [], [], [3, 3]]
    added = [(row, params, list(range(V)), answers[row]) for row, params in enumerate(rows)]
    worker.processor.update_state(BatchUpdate(5, [], added, []))
    for token in (3, 7, 3, 3, 11, 7, 3):
        check_costs(worker, persrm, list(zip(rows, answers, strict=True)))
        worker.processor.update_state(None)
        for answer in answers:  # the runner's own lists grow
            answer.append(token)


def test_costs_follow_moves_swaps_removals_and_preemption(worker: Worker, persrm: Path) -> None:
    a, b, c = (costing(asked(0)), [1, 2]), (costing(Params(), 3.0), [5]), (asked(1), [9])
    plain = Params(), [4]

    def change(size: int, removed: Any = (), added: Any = (), moved: Any = ()) -> None:
        rows = [(row, params, [1, 2, 3], answer) for row, (params, answer) in added]
        worker.processor.update_state(BatchUpdate(size, removed, rows, moved))

    change(4, added=enumerate([a, plain, b, c]))
    check_costs(worker, persrm, [a, plain, b, c])
    change(3, removed=[0], moved=[(2, 0, MOVE), (3, 2, MOVE)])
    check_costs(worker, persrm, [b, plain, c])
    change(3, moved=[(0, 2, SWAP), (1, 2, SWAP)])
    check_costs(worker, persrm, [c, b, plain])
    a[1].append(6)  # preempted and resumed: the same answer in a new list, in the row of one that ended
    a = a[0], list(a[1])
    change(3, added=[(0, a)])
    a[1].append(8)
    check_costs(worker, persrm, [a, b, plain])
    a[1][:] = [1, 2, 13]  # two were lost with their keys and values
    check_costs(worker, persrm, [a, b, plain])
    change(1, removed=[0, 1], moved=[(2, 0, MOVE)])
    check_costs(worker, persrm, [plain])


def test_tokens_that_v1_has_not_told_are_never_guessed(worker: Worker) -> None:
    worker.processor.update_state(BatchUpdate(1, [], [(0, costing(Params()), [1], [5, -1])], []))
    with pytest.raises(RuntimeError, match="--no-async-scheduling"):
        worker.processor.apply(torch.zeros(1, V))


def test_v2_reads_answers_from_the_device_with_their_drafts(vllm: None, persrm: Path) -> None:
    states = States(8, 40)
    worker = _v2(states)
    a, b, c = costing(asked(0), 1.4, 2), costing(Params(), 2.5), asked(1)
    told = {5: (a, [1, 2]), 2: (b, [7]), 7: (c, []), 1: (Params(), [3])}
    for slot, (params, answer) in told.items():
        states.write(slot, [9, 8, 3], answer)
        assert worker.processor.add_request(slot, params) == (slot != 1)
    second, third = {5: [4, 1, 2], 1: [6]}, {2: [7, 7], 5: [2]}  # drafts: a row for each
    steps = [([5, 2, 7, 1], {}), ([1, 7, 2, 5], second), ([2, 5], third), ([7, 1], {}), ([5], {})]
    for n, (slots, drafts) in enumerate(steps):
        rows = [
            (told[slot][0], [*told[slot][1], *drafts.get(slot, [])[:place]])
            for slot in slots
            for place in range(1 + len(drafts.get(slot, [])))
        ]
        check_costs(worker, persrm, rows, states.context(slots, drafts))
        for slot in slots:  # not what the drafts were
            told[slot][1].append(n + 10)
            states.write(slot, [9, 8, 3], told[slot][1])
    states.write(2, [1] * 20, [30, 31])  # a request that was preempted, in the slot of one that ended
    worker.processor.add_request(2, a)
    worker.processor.add_request(5, Params())
    check_costs(worker, persrm, [(a, [30, 31]), (Params(), [])], states.context([2, 5], {}))
    states.write(2, [1] * 20, [])
    states.lengths[2] = 12  # a prompt in parts has no answer yet
    states.write(6, [1] * 19, [4, 4])
    worker.processor.add_request(6, b)
    check_costs(worker, persrm, [(a, []), (b, [4, 4])], states.context([2, 6], {}))


def test_v2_tells_slots_and_the_rows_of_a_step_in_any_order(vllm: None, persrm: Path) -> None:
    worker = _v2()
    a, b, plain = asked(0), asked(1), Params()
    assert [worker.processor.add_request(slot, params) for slot, params in ((5, a), (2, plain), (7, b))] == [
        True,
        False,
        True,
    ]
    for slots in ([5, 2, 7], [7, 5, 2], [2, 7], [2], [7, 5, 2]):
        run(worker, persrm, [{5: a, 2: plain, 7: b}[slot] for slot in slots], context(slots))
    worker.processor.add_request(5, plain)  # the slot of a request that ended
    worker.processor.add_request(2, a)
    run(worker, persrm, [plain, a, b], context([5, 2, 7]))


def test_v2_steers_every_draft_row_of_a_request(vllm: None, persrm: Path) -> None:
    worker = _v2()
    a, plain = asked(0), Params()
    worker.processor.add_request(1, a)
    worker.processor.add_request(0, plain)
    run(worker, persrm, [plain, plain, a, a, a], context([0, 1], [0, 0, 1, 1, 1]))
    run(worker, persrm, [a, a, plain], context([1, 0], [1, 1, 0]))


def _v2(states: Any = None) -> Worker:
    from pad_vllm import PadProcessor

    worker = Worker()
    worker.processor = PadProcessor(worker.config, states or States(8, 8))
    return worker


def test_rows_of_several_heads_in_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_head(tmp_path / "a", 1, beta=1.5, alpha=0.01)
    save_head(tmp_path / "b", 2, beta=1.5, alpha=0.01)
    monkeypatch.setenv("PAD_PERSRM", str(tmp_path))
    with vllm_fakes.installed():
        from pad_vllm.tap import register

        register()
        worker = Worker()
        save_head(tmp_path / "new", 3, rank=R, beta=1.5, alpha=0.01)  # put there while it serves
        names = ["a", "b", None, "new", "a"]
        rows = [Params() if name is None else asked(n, pad_head=name) for n, name in enumerate(names)]
        update(worker, 5, added=list(enumerate(rows)))
        hidden_BD, logits_BV = worker.step(5)
        changed_BV = worker.processor.apply(logits_BV.clone())
        for row, name in enumerate(names):
            if name is None:
                assert torch.equal(changed_BV[row], logits_BV[row])
            else:
                wanted_V = expected(worker, tmp_path / name, rows[row], hidden_BD[row], logits_BV[row])
                torch.testing.assert_close(changed_BV[row], wanted_V, atol=1e-4, rtol=1e-5)


def test_many_rows_with_many_candidates_are_gathered_in_parts(worker: Worker, persrm: Path, monkeypatch) -> None:
    monkeypatch.setattr("pad_vllm.steering.AT_ONCE", 2 * V * D)
    rows = [asked(seed, pad_top_k=V, pad_alpha=0.0) for seed in range(5)]
    update(worker, 5, added=list(enumerate(rows)))
    run(worker, persrm, rows)
    assert [len(group.k_G) for group in worker.processor._groups] == [2, 2, 1]


def test_parts_of_a_tensor_parallel_head_add_up(vllm: None, persrm: Path) -> None:
    worker = Worker()
    rows = [asked(0), asked(1)]
    update(worker, 2, added=list(enumerate(rows)))
    worker.step(2)
    taken, half = worker.layer.taken, 32
    whole = taken.logits(tokens := torch.tensor([[0, 31, 32, 59], [40, 2, 33, 1]]), vectors := torch.randn(2, D, 2))
    parts = []
    for first, part in ((0, slice(0, half)), (half, slice(half, V))):
        taken.lm_head = FakeHead(worker.head.weight[part], first)
        taken.bias_V = worker.bias[part]
        parts.append(taken.logits(tokens, vectors))
    torch.testing.assert_close(sum(parts), whole)
    taken.lm_head = FakeHead(worker.head.weight[:half], 0, parts=2)
    taken.bias_V = worker.bias[:half]
    vllm_fakes.others[:] = [parts[1]]
    try:
        torch.testing.assert_close(taken.logits(tokens, vectors), whole)
    finally:
        vllm_fakes.others.clear()


def test_a_gate_that_only_the_worker_cannot_read_ends_its_request_and_no_other(
    worker: Worker, persrm: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost = Params({"pad_gate": [1.0] * R, "pad_head": "elsewhere"}, {7, 9})
    rows = [asked(0), lost, Params()]
    update(worker, 3, added=list(enumerate(rows)))
    assert "ends here without an answer" in caplog.text
    hidden_BD, logits_BV = worker.step(3)
    changed_BV = worker.processor.apply(logits_BV.clone())
    assert torch.isfinite(changed_BV[1]).nonzero().tolist() == [[7]]
    check(worker, persrm, [rows[0]], changed_BV[:1], (hidden_BD, logits_BV))
    assert torch.equal(changed_BV[2], logits_BV[2])


def test_the_front_end_refuses_what_the_worker_could_not_take(worker: Worker) -> None:
    worker.processor.validate_params(asked(0))
    worker.processor.validate_params(Params())
    with pytest.raises(ValueError, match="pad_gate has to be 6 numbers"):
        worker.processor.validate_params(Params({"pad_gate": [0.5]}))
    with pytest.raises(ValueError, match="pad_repetition_penalty has to be"):
        worker.processor.validate_params(costing(Params(), 0.5))
    assert worker.processor.is_argmax_invariant() is False


def test_a_head_of_another_base_stops_the_start(vllm: None) -> None:
    from pad_vllm import PadProcessor

    with pytest.raises(ValueError, match=r"trained for a base with .* \(24, 60\), but 'base' has \(24, 61\)"):
        PadProcessor(FakeConfig(D, V + 1), torch.device("cpu"), False)


def test_a_worker_whose_model_has_no_such_layer_says_so(vllm: None) -> None:
    from pad_vllm import PadProcessor

    processor = PadProcessor(FakeConfig(D, V), torch.device("cpu"), False)
    processor.update_state(BatchUpdate(1, [], [(0, asked(0), None, [])], []))
    with pytest.raises(RuntimeError, match="no LogitsProcessor layer"):
        processor.apply(torch.zeros(1, V))


def test_hidden_states_of_other_rows_are_never_used(worker: Worker) -> None:
    update(worker, 2, added=[(0, asked(0)), (1, Params())])
    worker.step(3)
    with pytest.raises(RuntimeError, match="2 rows of logits came to pad-vllm after 3"):
        worker.processor.apply(torch.zeros(2, V))


def test_two_models_in_one_process_do_not_meet(worker: Worker, persrm: Path) -> None:
    other = Worker()
    other.head.weight = torch.randn(V, D)
    rows = [asked(0), Params()]
    for each in (worker, other):
        update(each, 2, added=list(enumerate(rows)))
    step = worker.step(2)
    other.step(2)
    check(worker, persrm, rows, worker.processor.apply(step[1].clone()), step)


def test_a_draft_model_of_the_same_process_is_not_tapped(worker: Worker, persrm: Path) -> None:
    draft = FakeModel(FakeConfig(D, V, runner_type="draft"), FakeHead(torch.randn(V, D)))
    rows = [asked(0), Params()]
    update(worker, 2, added=list(enumerate(rows)))
    step = worker.step(2)
    draft.compute_logits(torch.randn(2, D))
    check(worker, persrm, rows, worker.processor.apply(step[1].clone()), step)
