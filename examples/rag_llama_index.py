"""Retrieval with LlamaIndex: two users ask the same documents, each gets an answer in their own way, sources cited.

    python examples/rag_llama_index.py
    python examples/rag_llama_index.py --model smollm2-135m

The documents are invented: what an answer knows of them, it has from the retrieved text. The demo pair says no more
than that. A model that has read the web may add something of its own.
"""

import argparse

from llama_index.core import Document, PromptTemplate, VectorStoreIndex

from pad_langchain import PADLLM
from pad_langchain.llama_index import PADEmbedding
from pad_memory import PreferenceMemory, SentenceEmbedder, Statement

PASSAGES = {
    "velmora.txt": "Velmora is a country in Europe. The government sits in Tarnis. People there often speak Marish. "
    "A well loved dish is onion soup. Many people go to see the castle of Ondra.",
    "karsund.txt": "Karsund is a country in Asia. The government sits in Pelo. People there often speak Karsi. "
    "A well loved dish is fried rice. Many people go to see the lake of Minu.",
    "brimtail.txt": "A brimtail is a kind of bird. It likes to eat berries. It lives in pine forests. "
    "It is known for its loud song. Its baby has the name chick.",
}
# A small model answers best in the form it has learned; a large one does well with LlamaIndex's own template.
PROMPT = PromptTemplate("Context:\n{context_str}\n\nQuestion: {query_str}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of an answer at most")
    options = parser.parse_args()
    embedder = SentenceEmbedder()
    documents = [
        Document(text=text, metadata={"file": name}, excluded_llm_metadata_keys=["file"])
        for name, text in PASSAGES.items()
    ]
    index = VectorStoreIndex.from_documents(documents, embed_model=PADEmbedding(embedder=embedder))

    memory = PreferenceMemory(embedder=embedder)
    memory.record("ada", Statement("Please be brief."))
    memory.record("bob", Statement("I want long and detailed answers."))

    llm = PADLLM(model=options.model, memory=memory, max_tokens=options.tokens)
    for user in ("ada", "bob"):
        engine = index.as_query_engine(llm=llm.for_user(user), text_qa_template=PROMPT, similarity_top_k=1)
        answer = engine.query("Tell me about Velmora.")
        sources = ", ".join(node.metadata["file"] for node in answer.source_nodes)
        print(f"{user}: {answer.response} [{sources}]\n")


if __name__ == "__main__":
    main()
