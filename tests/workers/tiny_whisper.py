"""Whisper models so small that a test can build, convert, load and run them in a second or two.

Their vocabulary is Whisper's by size and by the places of its special tokens, which faster-whisper and CTranslate2 go
by; the pieces of text are bytes and made-up words. `save_tiny_whisper` has random weights and writes noise;
`save_scripted_whisper` has weights that were worked out by hand and says one sentence, whatever it hears.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from ctranslate2.converters import TransformersConverter
from faster_whisper.tokenizer import _LANGUAGE_CODES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

LANGUAGES = ("en", "zh", "de", "es", "ru", *sorted({*_LANGUAGE_CODES} - {"en", "zh", "de", "es", "ru", "yue"}))
"""99 codes, as the models before large-v3 have them."""
TEXT_TOKENS = {True: 50_257, False: 50_256}
"""How many come before the special ones, by whether the model is multilingual."""
TIMESTAMPS = 1501
MELS = 80
START_OF_TRANSCRIPT, END_OF_TEXT, NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"
_TASKS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>")


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a model: `layers` of the encoder and of the decoder."""

    layers: tuple[int, int] = (1, 1)
    width: int = 16
    heads: int = 2


def save_tiny_whisper(
    folder: Path, scratch: Path, *, multilingual: bool = True, shape: Shape | None = None, quantization: str = "int8"
) -> Path:
    """A model with random weights, converted for CTranslate2 with everything that faster-whisper reads."""
    tokenizer = whisper_tokenizer(multilingual)
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(_config(tokenizer, multilingual, shape or Shape()))
    return _convert(model, tokenizer, folder, scratch, quantization)


def save_scripted_whisper(
    folder: Path,
    scratch: Path,
    words: Sequence[str],
    *,
    language: str = "ru",
    sure: float = 4.0,
    loops: bool = False,
    multilingual: bool = True,
) -> Path:
    """A model that hears `words` in `language` in everything: each word is a token that leads to the next one.

    Attention is switched off. The embeddings are nearly orthogonal, so one neuron of the feed-forward layer can tell
    one token and write the next one into the stream. `sure` scales the logits: 4 is certain, 1 has hardly an idea.
    `loops`: after the last word comes the first one again.
    """
    torch.manual_seed(0)
    tokenizer = whisper_tokenizer(multilingual, words)
    model = WhisperForConditionalGeneration(_config(tokenizer, multilingual, Shape(width=64)))
    said = [tokenizer.token_to_id("Ġ" + _as_bytes(word)) for word in words]
    start, end = tokenizer.token_to_id(NO_TIMESTAMPS), tokenizer.token_to_id(END_OF_TEXT)
    steps = [*pairwise([start, *said, said[0] if loops else end])]
    if multilingual:
        steps.append((tokenizer.token_to_id(START_OF_TRANSCRIPT), tokenizer.token_to_id(f"<|{language}|>")))
    with torch.no_grad():
        _write_script(model, steps, sure)
    return _convert(model, tokenizer, folder, scratch, "float32")


def fill_with_nan(folder: Path) -> None:
    """Make a converted model compute nonsense, as float16 does on a GTX 16xx: its last layer norm has a NaN."""
    file = folder / "model.bin"
    content = bytearray(file.read_bytes())
    name = b"decoder/layer_norm/gamma\0"
    # Behind the name: rank, one dimension, type, size in bytes, then float32 values.
    place = content.index(name) + len(name) + 1 + 4 + 1 + 4
    content[place : place + 4] = b"\x00\x00\xc0\x7f"
    file.write_bytes(content)


def whisper_tokenizer(multilingual: bool, words: Sequence[str] = ()) -> Tokenizer:
    """Bytes, `words` as a token each, made-up words up to Whisper's number of them, then its special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spaced = ["Ġ" + _as_bytes(word) for word in dict.fromkeys(words)]
    # By this token CTranslate2 knows a multilingual model.
    empty = [""] if multilingual else []
    made_up = [f"Ġw{number}" for number in range(TEXT_TOKENS[multilingual] - len(alphabet) - len(spaced) - len(empty))]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *spaced, *made_up, *empty])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [END_OF_TEXT, START_OF_TRANSCRIPT, *(f"<|{code}|>" for code in LANGUAGES), *_TASKS, NO_TIMESTAMPS]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _as_bytes(word: str) -> str:
    """As byte-level BPE spells it: a letter for each byte."""
    ((spelled, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)
    return spelled


def _config(tokenizer: Tokenizer, multilingual: bool, shape: Shape) -> WhisperConfig:
    end = tokenizer.token_to_id(END_OF_TEXT)
    encoder_layers, decoder_layers = shape.layers
    return WhisperConfig(
        vocab_size=tokenizer.get_vocab_size() + TIMESTAMPS,
        num_mel_bins=MELS,
        d_model=shape.width,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.width * 4,
        decoder_ffn_dim=shape.width * 4,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=tokenizer.token_to_id(START_OF_TRANSCRIPT),
    )


def _write_script(model: WhisperForConditionalGeneration, steps: Sequence[tuple[int, int]], sure: float) -> None:
    decoder = model.model.decoder
    embeddings = torch.nn.functional.normalize(torch.randn_like(decoder.embed_tokens.weight), dim=1)
    decoder.embed_tokens.weight.copy_(embeddings)
    decoder.embed_positions.weight.zero_()
    (layer,) = decoder.layers
    for attention in (layer.self_attn, layer.encoder_attn):
        attention.out_proj.weight.zero_()
        attention.out_proj.bias.zero_()
    for linear in (layer.fc1, layer.fc2):
        linear.weight.zero_()
        linear.bias.zero_()
    # After the layer norm a token's vector has the length √width; no other token comes near three quarters of it.
    length = embeddings.shape[1] ** 0.5
    assert len(steps) <= len(layer.fc1.bias)
    for neuron, (token, following) in enumerate(steps):
        layer.fc1.weight[neuron] = embeddings[token] * 10
        layer.fc1.bias[neuron] = -0.75 * 10 * length
        layer.fc2.weight[:, neuron] = embeddings[following] * 5
    decoder.layer_norm.weight.fill_(sure)


def _convert(
    model: WhisperForConditionalGeneration, tokenizer: Tokenizer, folder: Path, scratch: Path, quantization: str
) -> Path:
    model.generation_config = GenerationConfig(
        alignment_heads=[[model.config.decoder_layers - 1, 0]],
        suppress_tokens=[],
        begin_suppress_tokens=[tokenizer.token_to_id("Ġ"), model.config.eos_token_id],
        lang_to_id={f"<|{code}|>": tokenizer.token_to_id(f"<|{code}|>") for code in LANGUAGES},
    )
    model.save_pretrained(scratch)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(scratch)
    (scratch / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS, "sampling_rate": 16_000}))
    converter = TransformersConverter(str(scratch), copy_files=["tokenizer.json", "preprocessor_config.json"])
    converter.convert(str(folder), quantization=quantization)
    return folder
