"""`tfgraph targets`."""

from __future__ import annotations

from tfgraph.backends.onnxruntime.providers import usable_providers
from tfgraph.cli.targets import _DESCRIPTIONS
from tfgraph.targets import target_names


def test_every_target_is_described():
    assert set(_DESCRIPTIONS) == set(target_names())


def test_targets_and_providers(cli):
    done = cli("targets")
    assert done.code == 0
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    for name in target_names():
        assert any(row[0] == name for row in rows)
    assert ["CPUExecutionProvider", "yes"] in rows


def test_json(cli):
    found = cli("targets", "--json").json
    assert [target["name"] for target in found["targets"]] == list(target_names())
    usable = [provider["name"] for provider in found["providers"] if provider["usable"]]
    assert usable == list(usable_providers())
    assert all(provider["reason"] for provider in found["providers"] if not provider["usable"])
