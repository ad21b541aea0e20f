"""ONNX files: importing any of them into the IR, lowering the IR to ONNX, and writing it.

The only place that knows protobuf. Running a file is the work of `tfgraph.backends.onnxruntime`.
"""
