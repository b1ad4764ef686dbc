"""Paint models exported once to ONNX, with static shapes, for servers without a graphics card."""
