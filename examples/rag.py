"""Retrieval with Chroma: two users ask the same documents, each gets an answer in their own way, sources cited.

    python examples/rag.py
    python examples/rag.py --model smollm2-135m

The documents are invented: what an answer knows of them, it has from the retrieved text. The demo pair says no more
than that. A model that has read the web may add something of its own.
"""

import argparse
from operator import itemgetter

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from pad_langchain import ChatPAD
from pad_memory import PreferenceMemory, SentenceEmbedder, Statement

PASSAGES = {
    "velmora.txt": "Velmora is a country in Europe. The government sits in Tarnis. People there often speak Marish. "
    "A well loved dish is onion soup. Many people go to see the castle of Ondra.",
    "karsund.txt": "Karsund is a country in Asia. The government sits in Pelo. People there often speak Karsi. "
    "A well loved dish is fried rice. Many people go to see the lake of Minu.",
    "brimtail.txt": "A brimtail is a kind of bird. It likes to eat berries. It lives in pine forests. "
    "It is known for its loud song. Its baby has the name chick.",
}


class LocalEmbeddings(Embeddings):
    """The memory's sentence embedder as LangChain embeddings: one model for retrieval and for preferences."""

    def __init__(self, embedder: SentenceEmbedder) -> None:
        self.embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embedder.embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def join(documents: list[Document]) -> str:
    return " ".join(document.page_content for document in documents)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="a name, a GGUF file, a folder or a hub id")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of an answer at most")
    options = parser.parse_args()
    embedder = SentenceEmbedder()
    store = Chroma(collection_name="facts", embedding_function=LocalEmbeddings(embedder))
    store.add_documents([Document(text, metadata={"source": name}) for name, text in PASSAGES.items()])

    memory = PreferenceMemory(embedder=embedder)
    memory.record("ada", Statement("Please be brief."))
    memory.record("bob", Statement("I want long and detailed answers."))

    prompt = ChatPromptTemplate.from_messages([("human", "Context:\n{context}\n\nQuestion: {question}")])
    retrieved = RunnablePassthrough.assign(
        documents=itemgetter("question") | store.as_retriever(search_kwargs={"k": 1})
    )
    answered = RunnablePassthrough.assign(
        answer=RunnablePassthrough.assign(context=itemgetter("documents") | RunnableLambda(join))
        | prompt
        | ChatPAD(model=options.model, memory=memory, max_tokens=options.tokens)
        | StrOutputParser()
    )
    chain = retrieved | answered
    for user in ("ada", "bob"):
        result = chain.invoke({"question": "Tell me about Velmora."}, {"configurable": {"user_id": user}})
        sources = ", ".join(document.metadata["source"] for document in result["documents"])
        print(f"{user}: {result['answer']} [{sources}]\n")


if __name__ == "__main__":
    main()
