"""What the reference runs: every primitive operator of the IR by its numpy reference, and composites by definition.

It is no target of its own: a graph is interpreted as it is, and nothing is compiled for it.
"""

from __future__ import annotations

from typing import Final

from tfgraph.capabilities import Capabilities
from tfgraph.ir.optable import OPSET

REFERENCE: Final = Capabilities(name="reference", opset=OPSET, ir_version=12)
