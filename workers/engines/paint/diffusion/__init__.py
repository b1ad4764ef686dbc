"""Stable Diffusion 1, 2 and XL and what was distilled from them, run by torch and diffusers."""
