"""What a head is worth: ways to answer, judged; which of them is chosen; the report."""
