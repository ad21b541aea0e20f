"""The fusions: for each composite operator, the ways in which it is called, to be found in graphs.

`STANDARD` are ONNX's operators and are always looked for. `CONTRIB` are ONNX Runtime's, built from the first, and are
looked for where the target has them.
"""

from tfgraph.passes.fusions.activations import BIASED_ACTIVATIONS, STANDARD_ACTIVATIONS
from tfgraph.passes.fusions.attention import ATTENTION, FOLDED_ATTENTION, MULTI_HEAD_ATTENTION, PACKED_ATTENTION
from tfgraph.passes.fusions.cached_attention import CACHED_ATTENTION
from tfgraph.passes.fusions.norms import NORMS, SKIP_NORMS
from tfgraph.passes.fusions.rotary import ROTARY

STANDARD = (*NORMS, *STANDARD_ACTIVATIONS, *ROTARY, ATTENTION)
CONTRIB = (*SKIP_NORMS, *BIASED_ACTIVATIONS)

__all__ = ["CACHED_ATTENTION", "CONTRIB", "FOLDED_ATTENTION", "MULTI_HEAD_ATTENTION", "PACKED_ATTENTION", "STANDARD"]
