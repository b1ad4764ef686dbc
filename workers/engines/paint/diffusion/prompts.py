"""Prompts as text embeddings: cut to what the text encoders read, encoded once, kept.

Prompts are private: none is ever logged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

MOST_PROMPT_CHARS = 2_000
"""77 tokens are at most a few hundred characters; nothing behind this can matter."""
KEPT = 64
"""Embeddings are about 240 kB (77 x 768 float32) to 630 kB (SDXL) each."""


Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values computed last, by key: an LRU cache. Not for several threads at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Any, Value] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Value]) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        self._values[key] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value

    def __contains__(self, key: Any) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        self._values.clear()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt as the UNet takes it."""

    text: Any
    """Tensor (1, tokens, channels); (2, …) with the negative prompt first where guidance is on."""
    pooled: Any = None
    """SDXL: tensor (1 or 2, channels)."""


class Prompts:
    """Encodes prompts with a pipeline's text encoders and keeps what came out."""

    def __init__(self, pipe: Any, device: Any, dtype: Any) -> None:
        """`device`, `dtype`: of the UNet, where the embeddings go."""
        self._pipe = pipe
        self._device, self._dtype = device, dtype
        self._kept: Kept[Encoded] = Kept(KEPT)
        self._fitted: Kept[str] = Kept(2 * KEPT)

    def encode(self, prompt: str, negative: str, *, guided: bool) -> tuple[Encoded, bool]:
        """The embeddings of a prompt, and whether they had to be computed. The negative counts only with guidance."""
        text = self._fit(prompt)
        against = self._fit(negative) if guided else ""
        key = (text, against, guided)
        known = key in self._kept
        return self._kept.get(key, lambda: self._encode(text, against, guided)), not known

    def clear(self, dtype: Any) -> None:
        """Forget all, for the encoders compute in something else now."""
        self._kept.clear()
        self._dtype = dtype

    def _encode(self, prompt: str, negative: str, guided: bool) -> Encoded:
        import torch

        pipe = self._pipe
        encoded = pipe.encode_prompt(
            prompt=prompt,
            device=self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            negative_prompt=negative or None,
        )
        place = {"device": self._device, "dtype": self._dtype}
        if len(encoded) == 2:
            parts = (encoded[1], encoded[0]) if guided else (encoded[0],)
            return Encoded(torch.cat(parts).to(**place))
        text, against, pooled, pooled_against = encoded
        if guided:
            text, pooled = torch.cat([against, text]), torch.cat([pooled_against, pooled])
        return Encoded(text.to(**place), pooled.to(**place))

    def _fit(self, prompt: str) -> str:
        return self._fitted.get(prompt, lambda: fit_to_encoders(self._pipe, prompt))


def fit_to_encoders(pipe: Any, prompt: str) -> str:
    """As many whole words as the text encoders read, so that nothing is cut in the middle (or warned about)."""
    text = " ".join(prompt[:MOST_PROMPT_CHARS].split())
    for role in ("", "_2"):
        tokenizer = getattr(pipe, f"tokenizer{role}", None)
        encoder = getattr(pipe, f"text_encoder{role}", None)
        if tokenizer is None or encoder is None:
            continue
        limit = min(tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", 77))
        text = fitting(text, lambda part, t=tokenizer, n=limit: _fits(t, part, n))
    return text


def fitting(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of whole words that fits; of one endless word, the longest beginning of letters."""
    if fits(text):
        return text
    for pieces, joint in ((text.split(" "), " "), (list(text), "")):
        low, high = 0, len(pieces)
        while low < high:
            middle = (low + high + 1) // 2
            if fits(joint.join(pieces[:middle])):
                low = middle
            else:
                high = middle - 1
        if low:
            return joint.join(pieces[:low]).rstrip(" ,;")
    return ""


def _fits(tokenizer: Any, text: str, limit: int) -> bool:
    # One more than fits is enough to know, and keeps the tokenizer from warning.
    return len(tokenizer(text, truncation=True, max_length=limit + 1).input_ids) <= limit
