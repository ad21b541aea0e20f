"""The reference: a graph interpreted with numpy, node by node, as the oracle of every other backend."""
