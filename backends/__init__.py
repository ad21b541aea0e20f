"""What turns a graph into something that runs or can be stored, one folder for each.

A backend sees the IR and the description of the target. Optimising the graph is the work of `tfgraph.passes`; choosing
passes and backend for a target is the work of `tfgraph.compile`.
"""
