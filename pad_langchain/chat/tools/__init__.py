"""Tools and forms: what a call binds an answer to, as a grammar, and how the answer is read back."""
