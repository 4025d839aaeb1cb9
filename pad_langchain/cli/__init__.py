"""The command `pad-langchain`; its app is `pad_langchain.cli.main.app`."""
