# vLLM with the head as a plugin, from the root of a checkout:
#
#     docker build -f docker/vllm.Dockerfile -t pad-vllm .
ARG VLLM=v0.32.0
FROM vllm/vllm-openai:${VLLM}
COPY pad_langchain/arithmetic /src/pad_langchain/arithmetic
COPY pad_vllm /src/pad_vllm
RUN pip install --no-cache-dir --no-deps /src/pad_vllm
