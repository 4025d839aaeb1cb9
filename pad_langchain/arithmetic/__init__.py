"""Pure functions and the head's file. This folder needs only numpy, torch and safetensors, so other runtimes copy it.

Import the modules. Their functions read best with the module's name before them (`head.steer`, `scoring.plausible`).
"""

__all__ = ["arrays", "drawing", "head", "head_file", "repeats", "scoring"]
