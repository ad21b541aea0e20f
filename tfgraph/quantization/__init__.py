"""Quantisation from the user's side: calibration, error budgets, and the search for what may be quantised how.

`budget.py` and `metrics.py` say what error is and how much is accepted, `calibration.py` where inputs come from,
`observe.py` what activations look like, `smoothing.py` and `integers.py` how a site is quantised well, `profiles.py`
what "int8" and "int4" mean, `search.py` which sites get what, and `quantize.py` puts them together. The operators and
the rewriting of graphs are in `tfgraph.passes.quantise`.
"""
