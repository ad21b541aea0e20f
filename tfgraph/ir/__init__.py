"""The intermediate representation: a typed graph of ONNX operators.

It is imported module by module, so that each name has one home:

- `dims` and `dim_text`: dimensions as integers, symbols and arithmetic; as text;
- `dtypes`, `types`: element types; what is known about a value before the model runs;
- `constant`, `transforms`: handles to weights; new handles over them (transposed, cast, concatenated, …);
- `graph`, `attributes`, `order`: `Value`, `Node`, `Graph` and the three mutations; attributes and sources; sorting;
- `optable`, `primitive`, `ops`: the operator table, and its primitive rows;
- `infer`, `build`, `agree`: types of results; nodes added with inferred types; recorded types against inferred ones;
- `text`, `parse`, `scanner`: the graph as text, and back;
- `verify`: the invariants; `networkx_view`: the graph for graph theory; `interpret`: the graph run with numpy.

What declares models is in `tfgraph.dsl`, what rewrites graphs in `tfgraph.passes`, what runs them in
`tfgraph.backends`.
"""
