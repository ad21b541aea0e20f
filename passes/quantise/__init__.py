"""Quantisation: weights, and where it pays activations, as small integers.

`plan.py` says what may be asked of a product, `sites.py` finds the products and tables, `weights.py` rounds to nearest,
`gptq.py` and `hqq.py` choose better integers, and `rewrite.py` puts the quantised operators into a graph. What is
decided from measurements, namely the calibration, the error budget and the search, is not a pass and not here.
"""
