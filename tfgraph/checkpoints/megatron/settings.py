"""The arguments of Megatron-LM's training as a `config.json` would say them.

Sizes are those of the tensors themselves; what these do not tell (heads, activation, epsilon) is in the arguments, and
so is everything that would change the model in a way that is not built here, which is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfgraph.checkpoints.megatron.names import count_layers, is_bert
from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.ir.constant import Constant

GPT2, BERT = "megatron-gpt2", "megatron-bert"

_BUILT: dict[str, tuple[object, ...]] = {
    "apply_residual_connection_post_layernorm": (False,),
    "apply_layernorm_1p": (False,),
    "layernorm_zero_centered_gamma": (False,),
    "normalization": ("LayerNorm",),
    "position_embedding_type": ("learned_absolute",),
    "use_rotary_position_embeddings": (False,),
    "add_bias_linear": (True,),
    "swiglu": (False,),
    "group_query_attention": (False,),
    "qk_layernorm": (False,),
    "num_experts": ([1],),
    "window_size": (),
}
"""Arguments that change the model, each with the values that are built here; a missing one, or None, always is."""


_BERT_HEADS = {
    "binary_head.weight": "ForPreTraining",
    "lm_head.dense.weight": "ForMaskedLM",
    "classification_head.weight": "ForSequenceClassification",
    "multichoice_head.weight": "ForMultipleChoice",
}
"""A tensor that says what a BERT is for, and how the class ends that is for it."""


def heads_of(arguments: Mapping[str, Any] | None, config: Mapping[str, Any] | None, where: str) -> tuple[int, int]:
    """How many heads there are, and of how many features: from the arguments, else from a `config.json`.

    Raises:
        ConfigError: neither tells, or they are not positive whole numbers that fit together.
    """
    given = config if arguments is None else arguments
    if given is None:
        raise ConfigError(
            f"{where} does not hold the arguments of its training (older versions of Megatron-LM left them out), which "
            "say how many heads there are: put a config.json beside it, with 'model_type', 'num_attention_heads' and "
            "the other settings"
        )
    heads = given.get("num_attention_heads", given.get("n_head"))
    hidden = given.get("hidden_size", given.get("n_embd"))
    features = given.get("kv_channels", given.get("head_dim"))
    if features is None and isinstance(heads, int) and isinstance(hidden, int) and heads > 0:
        features = hidden // heads
    if type(heads) is not int or type(features) is not int or heads < 1 or features < 1:
        raise ConfigError(
            f"{where}: num_attention_heads is {heads!r} and hidden_size is {hidden!r}: expected positive whole numbers"
        )
    return heads, features


def config_from(arguments: Mapping[str, Any], weights: Mapping[str, Constant], where: str) -> dict[str, Any]:
    """What a `config.json` would say of a checkpoint with these arguments and (whole, newly named) tensors.

    Raises:
        ConfigError: the arguments ask for something that is not built here.
        CheckpointError: a tensor is missing that tells a size.
    """
    for name, built in _BUILT.items():
        value = arguments.get(name)
        if value is not None and value not in built:
            only = f"only {', '.join(map(repr, built))} is" if built else "nothing of the kind is"
            raise ConfigError(f"{where}: the checkpoint was trained with {name} = {value!r}: {only} built here")
    heads, features = heads_of(arguments, None, where)
    vocab_size, hidden_size = _shape(weights, "language_model.embedding.word_embeddings.weight", where)
    epsilon = arguments.get("norm_epsilon", arguments.get("layernorm_epsilon"))
    config: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": count_layers(weights),
        "num_attention_heads": heads,
        "intermediate_size": _shape(weights, "language_model.encoder.layers.0.mlp.dense_h_to_4h.weight", where)[0],
        "max_position_embeddings": _shape(weights, "language_model.embedding.position_embeddings.weight", where)[0],
        "hidden_act": activation_from(arguments),
        "layer_norm_eps": 1e-5 if epsilon is None else epsilon,
    }
    if is_bert(weights):
        if heads * features != hidden_size:
            raise ConfigError(
                f"{where}: a BERT of {heads} heads with {features} features (kv_channels) and a hidden_size of "
                f"{hidden_size} is not built here: only heads that are the hidden size together are"
            )
        return {**config, **_of_bert(arguments, weights)}
    return {
        **config,
        "model_type": GPT2,
        "architectures": ["MegatronGPT2LMHeadModel"],
        "head_dim": features,
        "tie_word_embeddings": "language_model.output_layer.weight" not in weights,
    }


def _of_bert(arguments: Mapping[str, Any], weights: Mapping[str, Constant]) -> dict[str, Any]:
    """What a BERT's configuration has besides its sizes."""
    types = weights.get("language_model.embedding.tokentype_embeddings.weight")
    head = next((head for tensor, head in _BERT_HEADS.items() if tensor in weights), "Model")
    of_labels = weights.get("classification_head.weight")
    return {
        "model_type": BERT,
        "architectures": [f"MegatronBert{head}"],
        "type_vocab_size": 2 if types is None else types.shape[0],
        # the fused kernel is for the layers alone: the head computes the GELU itself
        "prediction_act": "gelu_new" if arguments.get("openai_gelu") else "gelu",
        **({} if of_labels is None else {"num_labels": of_labels.shape[0]}),
    }


def adapted_config(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A `config.json` beside the checkpoint, with Megatron's own family in the place of GPT-2's.

    Raises:
        ConfigError: it is of another family.
    """
    model_type = config.get("model_type")
    if model_type in (GPT2, BERT):
        return dict(config)
    if model_type != "gpt2":
        raise ConfigError(
            f"the config.json beside {where} has the model_type {model_type!r}: expected 'gpt2', '{GPT2}' or '{BERT}'"
        )
    classes = config.get("architectures")
    named = [f"Megatron{name}" for name in classes] if isinstance(classes, list) else ["MegatronGPT2LMHeadModel"]
    return {**config, "model_type": GPT2, "architectures": named}


def activation_from(arguments: Mapping[str, Any]) -> str:
    """The activation: the fused kernel of bias and GELU, and OpenAI's, are the approximation by tanh."""
    if arguments.get("squared_relu"):
        return "relu2"
    if arguments.get("bias_gelu_fusion", True) or arguments.get("openai_gelu"):
        return "gelu_new"
    return "gelu"


def _shape(weights: Mapping[str, Constant], name: str, where: str) -> tuple[int, int]:
    constant = weights.get(name)
    if constant is None or len(constant.shape) != 2:
        found = "is missing" if constant is None else f"has the shape {list(constant.shape)}"
        raise CheckpointError(f"{where}: tensor {name!r} {found}; expected a matrix, as GPT-2 and BERT have there")
    return constant.shape[0], constant.shape[1]
