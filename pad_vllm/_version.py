"""The version, alone in a file, which the build reads."""

__all__ = ["__version__"]

__version__ = "0.1.0"
