"""Sources of networks: one per file."""

from manifoldscope.vision.sources.source import SOURCES, network

__all__ = ["SOURCES", "network"]
