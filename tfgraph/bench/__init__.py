"""Benchmarks that anyone can repeat: `tfgraph bench` measures with these modules, and prints.

`interleave` times candidates in turns and `timings` summarises; `machine` says where. `encoder` compares BERT with what
users would run instead (`peers`), and `scale` measures how time and memory grow with the model. Nothing is printed.
"""
