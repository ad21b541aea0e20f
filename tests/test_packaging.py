"""The distributions that are built: every module of the three folders is packed once, under its import name.

The build runs on a copy without the symbolic links, as it does for someone who installs from a source distribution or
from a checkout on a file system that has no links.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest

# in the checkout -> in the wheel
FOLDERS = {"tfgraph": "tfgraph", "passes": "tfgraph/passes", "backends": "tfgraph/backends"}
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def files_under(folder: Path) -> Iterator[Path]:
    """The files to pack under `folder`; a symbolic link is not followed."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from files_under(path)
        elif path.suffix == ".py" or path.name == "py.typed":
            yield path


def run_python(*arguments: str, folder: Path) -> str:
    """The last line that Python prints, run in `folder` with `arguments`."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is needed to build, without the symbolic links."""
    root = tmp_path_factory.mktemp("checkout")
    needed = [repository / name for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md")]
    needed += [path for folder in FOLDERS for path in files_under(repository / folder)]
    for path in needed:
        if path.exists():
            target = root / path.relative_to(repository)
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(path, target)
    return root


@pytest.fixture(scope="module")
def expected(copy: Path) -> list[str]:
    """The names under which the files of the library are to be packed."""
    packed = []
    for folder, package in FOLDERS.items():
        packed += [f"{package}/{path.relative_to(copy / folder).as_posix()}" for path in files_under(copy / folder)]
    return sorted(packed)


@pytest.fixture(scope="module")
def sdist(copy: Path) -> Path:
    return copy / "dist" / run_python("-c", BUILD, "build_sdist", "dist", folder=copy)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the source distribution."""
    root = tmp_path_factory.mktemp("sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(root, filter="data")
    (unpacked,) = root.iterdir()
    return unpacked / "dist" / run_python("-c", BUILD, "build_wheel", "dist", folder=unpacked)


def test_wheel_holds_every_file_once_and_nothing_else(wheel: Path, expected: list[str]) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert sorted(name for name in names if ".dist-info/" not in name) == expected
    assert {"tfgraph/errors.py", "tfgraph/passes/__init__.py", "tfgraph/backends/onnx/__init__.py"} <= set(names)
    assert any(name.endswith("/LICENSE") for name in names)


def test_wheel_imports_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import tfgraph, tfgraph.version, tfgraph.passes, tfgraph.backends.onnx as onnx; print(onnx.__file__)"
    )
    origin = run_python("-I", "-c", code, str(tmp_path), folder=tmp_path)
    assert Path(origin) == tmp_path / "tfgraph" / "backends" / "onnx" / "__init__.py"


def test_wheel_states_the_version_of_the_package(wheel: Path) -> None:
    from tfgraph.version import __version__

    assert wheel.name == f"tfgraph_onnx-{__version__}-py3-none-any.whl"


@pytest.mark.parametrize(
    ("platform", "machine", "wanted"),
    [
        ("linux", "x86_64", "onnxruntime-gpu"),
        ("win32", "AMD64", "onnxruntime-gpu"),
        ("linux", "aarch64", "onnxruntime"),
        ("win32", "ARM64", "onnxruntime"),
        ("darwin", "arm64", "onnxruntime"),
        ("darwin", "x86_64", "onnxruntime"),
    ],
)
def test_a_platform_gets_exactly_one_onnxruntime(repository: Path, platform: str, machine: str, wanted: str) -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [Requirement(text) for text in project["dependencies"]]
    where = {"sys_platform": platform, "platform_machine": machine}
    chosen = [one.name for one in needed if one.marker is None or one.marker.evaluate(where)]
    assert [name for name in chosen if name.startswith("onnxruntime")] == [wanted]
