"""The version, alone in a file: the build reads it, and so may every module without importing the package's names."""

__all__ = ["__version__"]

__version__ = "0.1.0"
