"""What the profiles try, and the schemes that they are made of."""

from __future__ import annotations

import pytest

from tfgraph.errors import ConfigError
from tfgraph.quantization.profiles import PRECISIONS, profile_for
from tfgraph.quantization.schemes import FLOAT, SCHEMES, bits_of, relative_time, scheme_named


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_fastest_comes_first_and_float_last(precision, decoder):
    profile = profile_for(precision, decoder=decoder)
    assert profile.linear[-1] == profile.embedding[-1] == FLOAT
    assert relative_time(profile.linear[0], one_row=decoder) < 1
    assert {*profile.linear, *profile.embedding, profile.uncalibrated, profile.unbudgeted} <= {*SCHEMES, FLOAT}
    assert all(SCHEMES[name].kind == "weight_only" for name in profile.embedding[:-1])


def test_a_product_of_many_rows_has_no_better_than_8_bit_activations():
    assert profile_for("int8", decoder=False).linear[0] == "dynamic"
    assert profile_for("int8", decoder=True).linear[0] == "int8-b128"


@pytest.mark.parametrize("precision", ["bf16", "auto"])
def test_what_is_no_quantisation_has_no_profile(precision):
    with pytest.raises(ConfigError, match="quantises no weights: expected int8 or int4"):
        profile_for(precision, decoder=False)


def test_unknown_names():
    with pytest.raises(ConfigError, match=f"expected one of {', '.join(PRECISIONS)}"):
        profile_for("int3", decoder=False)
    with pytest.raises(ConfigError, match="no scheme is called 'int3'"):
        scheme_named("int3")


def test_bits_of_a_weight():
    assert scheme_named(FLOAT) is None
    assert (bits_of(FLOAT), bits_of("dynamic")) == (32.0, 8.0)
    assert bits_of("int4-b32") == pytest.approx(4 + 36 / 32)
    assert bits_of("int8-b128") == pytest.approx(8.25)
