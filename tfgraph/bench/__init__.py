"""Benchmarks that anyone can repeat: `tfgraph bench` measures with these modules, and prints.

`interleave` times candidates in turns, `timings` and `contest` summarise; `machine` says where, and `limits` what that
can do at most. `encoder`, `texts` and `decode` compare tfgraph with what users would run instead (`peers`); `scale`,
`write` and `optimize` measure what it takes to make a model. `chart` draws. Nothing is printed.
"""
