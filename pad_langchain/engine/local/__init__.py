"""What all engines of this process share: rows, their queue, the token loop, and how rows choose.

A step is arithmetic on tensors or numpy arrays (`arithmetic.scoring`). The models are elsewhere.
"""
