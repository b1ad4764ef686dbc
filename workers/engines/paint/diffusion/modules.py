"""Changes to a network's modules that diffusers has no switch for."""

from __future__ import annotations

import warnings
from typing import Any

_UPCAST = "_meetviz_upcast"


def upcast_attention(network: Any) -> None:
    """Let attention compute in float32 whatever its projections compute in. Calling it again covers what is new.

    diffusers' own `upcast_attention` reaches only the processor without `scaled_dot_product_attention`. So what goes
    into the attention (queries, keys, values, IP-Adapters' too) is made float32, and what comes out is cast back.
    """
    from diffusers.models.attention_processor import Attention

    for attention in network.modules():
        if not isinstance(attention, Attention):
            continue
        processor = attention.processor
        incoming = [attention.to_q, attention.to_k, attention.to_v]
        incoming += [*getattr(processor, "to_k_ip", ()), *getattr(processor, "to_v_ip", ())]
        for projection in incoming:
            if not hasattr(projection, _UPCAST):
                setattr(projection, _UPCAST, projection.register_forward_hook(_to_float32))
        out = attention.to_out[0]
        if not hasattr(out, _UPCAST):
            setattr(out, _UPCAST, out.register_forward_pre_hook(_to_weights))


def _to_float32(module: Any, inputs: Any, output: Any) -> Any:
    return output.float()


def _to_weights(module: Any, inputs: Any) -> Any:
    return (inputs[0].to(module.weight.dtype), *inputs[1:])


def quantise(network: Any) -> None:
    """int8 weights for the linear layers, in place; activations are quantised as they come (CPU only).

    torchao, to which torch points instead, is no dependency of ours; what it replaces still works.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)


def compile_stages(device: str) -> list[str]:
    """The ways to compile for a device, best first: CUDA graphs do not work on every thread and driver."""
    return ["reduce-overhead", "default"] if device == "cuda" else ["default"]
