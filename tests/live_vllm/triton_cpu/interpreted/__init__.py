"""A backend of Triton for CPUs that compiles nothing: with TRITON_INTERPRET=1 kernels run in its interpreter.

vLLM's second runner wants a backend for its device. This one must not be there where the first runner is tested.
"""
