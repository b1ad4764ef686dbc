"""How the weights of an exported graph are stored: exactly, in as few bytes as that takes, or as int8."""

from __future__ import annotations

from typing import Any

import numpy as np

SMALLEST = 4096
"""Values; what is smaller is not worth a node of its own."""
INT8_MOST = 127


def halve(model: Any) -> int:
    """Store weights as float16 where that holds exactly the same values, with a cast behind them; how many.

    Models are shipped in float16, and computing in float32 needs no copy of them in it on the disk. `model`: an
    `onnx_ir.Model`.
    """
    import onnx_ir as ir

    count = 0
    for name, value in list(model.graph.initializers.items()):
        weight = _large(value)
        if weight is None:
            continue
        with np.errstate(over="ignore"):
            half = weight.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), weight):
            continue
        stored = _stored(model, f"{name}_half", half, ir.DataType.FLOAT16)
        _replace(model, value, ir.node("Cast", inputs=[stored], attributes={"to": int(ir.DataType.FLOAT)}))
        count += 1
    return count


def quantise(model: Any) -> int:
    """Store the weights of linear layers and convolutions as int8, a scale for each output channel; how many.

    Weights only: symmetric, to the nearest of 255 values. What computes with them is the runtime's business: both
    unfold them once, when they load.
    """
    import onnx_ir as ir

    count = 0
    for name, value in list(model.graph.initializers.items()):
        weight = _large(value)
        axis = _output_axis(value) if weight is not None and weight.ndim >= 2 else None
        if weight is None or axis is None:
            continue
        others = tuple(number for number in range(weight.ndim) if number != axis)
        scale = np.abs(weight).max(axis=others, keepdims=True) / INT8_MOST
        scale[scale == 0] = 1.0
        if not np.isfinite(scale).all():
            continue
        steps = np.clip(np.rint(weight / scale), -INT8_MOST, INT8_MOST).astype(np.int8)
        inputs = [
            _stored(model, f"{name}_int8", steps, ir.DataType.INT8),
            _stored(model, f"{name}_scale", scale.reshape(-1).astype(np.float32), ir.DataType.FLOAT),
        ]
        _replace(model, value, ir.node("DequantizeLinear", inputs=inputs, attributes={"axis": axis}))
        count += 1
    return count


def _large(value: Any) -> np.ndarray | None:
    """A weight's values, float32; None for what is small or of another type."""
    import onnx_ir as ir

    tensor = value.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST:
        return None
    return tensor.numpy()


def _output_axis(value: Any) -> int | None:
    """Along which axis a weight's output channels lie; None for what is no weight of a linear layer or convolution."""
    axes = set()
    for use in value.uses():
        operator, dimensions = use.node.op_type, len(value.const_value.shape)
        if operator == "MatMul" and use.idx == 1 and dimensions == 2:
            axes.add(1)
        elif operator == "Gemm" and use.idx == 1:
            transposed = use.node.attributes.get("transB")
            axes.add(0 if transposed is not None and transposed.value else 1)
        elif (operator == "Conv" and use.idx == 1) or (operator == "Transpose" and dimensions == 2):
            axes.add(0)
        else:
            return None
    return axes.pop() if len(axes) == 1 else None


def _stored(model: Any, name: str, values: np.ndarray, kind: Any) -> Any:
    import onnx_ir as ir

    tensor = ir.Tensor(values, name=name)
    value = ir.Value(name=name, type=ir.TensorType(kind), shape=ir.Shape(values.shape), const_value=tensor)
    model.graph.register_initializer(value)
    return value


def _replace(model: Any, value: Any, node: Any) -> None:
    """Let `node`, whose inputs are stored, give what the stored `value` gave."""
    import onnx_ir as ir

    output = node.outputs[0]
    output.name, output.type, output.shape = f"{value.name}_wide", value.type, value.shape
    ir.convenience.replace_all_uses_with(value, output)
    del model.graph.initializers[value.name]
    model.graph.insert_before(model.graph[0], node)
