"""The version of the Python layer; a test compares it with that of the compiled module."""

__version__ = "0.1.0"
