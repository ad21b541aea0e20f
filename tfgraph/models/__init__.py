"""Model families: a configuration, the models for each task, and the names of their parameters in checkpoints.

One file a family (`bert.py`), built of what families share: `encoder.py`, `embeddings.py`, `heads.py`, `tasks.py`,
`pooling.py`. `registry.py` knows which there are, `configs.py` the published sizes. Nothing here reads a file: that is
`tfgraph.checkpoints` and `tfgraph.pretrained`.
"""
