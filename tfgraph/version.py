"""The version of tfgraph: the only place that states it; packaging and exported files read it from here."""

__version__ = "0.1.0"
