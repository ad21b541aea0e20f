"""Torch checkpoints, `.bin`, `.pt` and `.pth`, read without torch and without running anything that is in them.

`read` tells the two forms apart, `zip_form` and `legacy_form` find pickle and storages in them, `pickle_machine` reads
the pickle as data, with the globals that `allowed` lists, and `tensors` makes constants of views of storages. Which
files make up a checkpoint is decided in `tfgraph.checkpoints.folder`.
"""

from tfgraph.checkpoints.torch.read import flatten_tensors, read_torch, read_torch_object
from tfgraph.checkpoints.torch.values import Attributes

__all__ = ["Attributes", "flatten_tensors", "read_torch", "read_torch_object"]
