"""What engines of this process share, whatever runs their models: rows, their queue, the loop, and how rows choose.

Steps are arithmetic on tensors (`arithmetic.scoring`), so torch is here; models are not.
"""
