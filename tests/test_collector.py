"""The garbage collector is off inside, and as it was afterwards, whatever happens."""

from __future__ import annotations

import gc

import pytest

from tfgraph.collector import without_collector


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_it_is_off_inside_and_as_it_was_afterwards(enabled, fails):
    try:
        (gc.enable if enabled else gc.disable)()
        try:
            with without_collector():
                assert not gc.isenabled()
                if fails:
                    raise ValueError
        except ValueError:
            assert fails
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
