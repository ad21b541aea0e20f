"""ONNX Runtime: sessions, execution providers and what they can really do here, I/O binding, threads.

Producing the file that a session loads is the work of `tfgraph.backends.onnx`.
"""
