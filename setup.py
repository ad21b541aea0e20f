"""Which folders are packed under which package name; everything else about the distribution is in `pyproject.toml`.

The package `tfgraph` lives in three folders of the repository: `tfgraph/`, `passes/` and `backends/`. The packages are
found by looking into the folders, so that a new one needs no entry anywhere. The symbolic links `tfgraph/passes` and
`tfgraph/backends` are for tools that read a checkout; nothing is packed through them, because they exist neither in a
source distribution nor in a checkout on a file system without links.
"""

from setuptools import find_packages, setup

MAPPED = {"tfgraph.passes": "passes", "tfgraph.backends": "backends"}

packages = ["tfgraph"]
packages += [f"tfgraph.{name}" for name in find_packages("tfgraph", exclude=["passes*", "backends*"])]
for package, folder in MAPPED.items():
    packages += [package, *(f"{package}.{name}" for name in find_packages(folder))]

setup(packages=packages, package_dir=MAPPED)
