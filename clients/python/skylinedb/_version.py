"""The package's version, as the daemon is told."""

__version__ = "0.1.0"
