"""Pure functions and the head's file: numpy, torch, safetensors and nothing else. Other runtimes carry this folder.

Import the modules: their functions read best with the module's name before them (`head.steer`, `scoring.plausible`).
"""

__all__ = ["arrays", "head", "head_file", "scoring"]
