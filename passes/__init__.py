"""Rewrites from graph to graph: canonicalisation, clean-up, fusion, legalisation, and the manager that runs them.

A pass sees the IR and the definitions of composite operators. It never sees a model, a file format or a runtime: what a
target can do reaches it as a description.
"""
