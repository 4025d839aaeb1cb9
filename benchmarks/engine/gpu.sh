#!/usr/bin/env bash
# One GPU, at most 8 minutes: guidance in vLLM and in our engine, against transformers' generate.
#
#   MODEL=FOLDER HEAD=FOLDER VLLM=PYTHON_WITH_VLLM_AND_PAD_VLLM OURS=PYTHON_WITH_PAD_LANGCHAIN benchmarks/engine/gpu.sh >vllm-gpu.txt
#
# MODEL is a folder of safetensors with its tokenizer. `python tests/live_vllm/expected.py PLACE/expected.json` writes SmolLM2 to PLACE/smollm2.
set -uo pipefail
cd "$(dirname "$0")/../.."
: "${MODEL:?a folder of safetensors}" "${HEAD:?the folder of its head}"
VLLM=${VLLM:-.venv-vllm/bin/python} OURS=${OURS:-.venv/bin/python}
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_LOGGING_LEVEL=ERROR
failed=0
# No part takes the time of the others; one that fails or is late does not end them.
part() { echo "== $2 ($(date +%T))"; timeout "$1" "${@:3}" || { echo "failed or too late: $?"; failed=1; }; }

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
"$VLLM" -c 'import torch, vllm; print("vllm", vllm.__version__, "torch", torch.__version__, torch.cuda.get_device_name())'
steps=benchmarks/engine/vllm_steps.py
part 110 "vLLM, bfloat16, CUDA graphs" "$VLLM" $steps --model "$MODEL" --head "$HEAD" --dtype bfloat16 --compiled --wall --batches 1 16 128 --rounds 11
part 80 "vLLM, bfloat16, eager" "$VLLM" $steps --model "$MODEL" --head "$HEAD" --dtype bfloat16 --wall --batches 1 16 128 --rounds 7
part 120 "bfloat16 against float32" "$VLLM" $steps --model "$MODEL" --head "$HEAD" --margins --batches 64 --tokens 64
part 120 "our engine and generate, bfloat16" "$OURS" benchmarks/engine/gpu_steps.py --model "$MODEL" --head "$HEAD"
exit $failed
