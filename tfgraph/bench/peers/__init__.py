"""Everything that a benchmark times: tfgraph's own profiles, and what users would run instead.

A peer is a module with two functions: `convert(job)` writes what the peer runs into a folder of its own, `load(job)`
gives what computes. Both happen in processes of their own: `worker.py` is what runs there, `client.py` speaks to it.
`table.py` lists the candidates; what they are asked for is in `interface.py`. Measuring is above this package.
"""
