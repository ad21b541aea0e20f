"""The language in which a Transformer is declared, and the composite operators that are written in it.

- `trace`, `tensor`, `module`: running a `forward` on stand-in tensors; what it computes with; how a model is declared;
- `functional`, `shaping`: the primitive operators as functions; shapes as operands;
- `definition`, `functions`: composite operators, one definition each;
- `layers`: what a model is put together from, which users see as `tfgraph.nn`.

Whole models are in `tfgraph.models`; what rewrites the traced graph is in `tfgraph.passes`.
"""
