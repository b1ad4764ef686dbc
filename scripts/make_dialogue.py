"""Make `meetings/demo/dialogue.opus` and its script `dialogue.json` with the voices of flite.

Run it once when the words change (`python scripts/make_dialogue.py --check`); the server only reads what it wrote. It
needs `flite` (any 2.x with the voices slt, rms and kal16) and the project's environment. The wording is chosen for the
embedded recogniser: `--check` decodes every line of the finished file and prints the word error rate.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

RATE_HZ = 16_000
LEVEL = 10 ** (-20 / 20)
"""Each line's RMS over its speech: -20 dBFS."""
ROOM_LEVEL = 10 ** (-64 / 20)
"""A quiet room instead of digital silence, which no microphone gives."""
SPEECH_FLOOR = 0.01
"""Below this fraction of full scale the synthesiser's own silence is cut from both ends of a line."""
LEAD_S, TAIL_S = 0.6, 1.2
BITRATE = 32_000
DEMO_FOLDER = Path(__file__).resolve().parent.parent / "meetings" / "demo"

VOICES = {"Anna": "slt", "Robert": "rms", "Max": "kal16"}

LINES: tuple[tuple[str, str, float], ...] = (
    # speaker, words, pause after the line in seconds
    ("Anna", "Good morning everyone. Today we plan the new garden by the river.", 0.9),
    ("Robert", "I can see an old house near the water, with tall trees behind it.", 0.8),
    ("Max", "There should be a bridge, so people can walk across the river.", 0.8),
    ("Anna", "Yes, a small wooden bridge. Children can stand on the bridge and watch the boats go by.", 1.0),
    ("Robert", "And a boat on the river. In the summer we could go fishing.", 0.8),
    ("Max", "We need a stone path from the house to the water.", 0.8),
    ("Anna", "Yes, and flowers on both sides of the path.", 0.8),
    ("Robert", "White flowers by the door, and red roses in front of the house.", 1.1),
    ("Max", "Can we have a bench under the trees by the water?", 0.8),
    ("Anna", "People can sit there in the evening and look at the river.", 0.9),
    (
        "Robert",
        "When it is dark, we will have lanterns in the trees and lanterns on the bridge. It will be beautiful.",
        1.0,
    ),
    ("Max", "What do we do when it starts to rain?", 0.8),
    ("Anna", "Then everybody can run to the house and drink hot tea by the fire.", 0.8),
    ("Robert", "I like the rain. The garden is beautiful in the rain.", 1.2),
    ("Anna", "The garden is ready. Now let us talk about the summer festival.", 0.9),
    ("Max", "How many people will come to the festival?", 0.8),
    ("Robert", "About two thousand people. We will need a big stage in the middle of the city.", 1.0),
    ("Anna", "The music comes first. Who is going to play on the big stage?", 0.8),
    ("Max", "A rock band from the city. They will play music all night.", 0.8),
    ("Robert", "I can hear the drums and the music from here.", 1.0),
    ("Anna", "Tickets are ten dollars, and every child comes in for free. We will sell the tickets at the door.", 0.9),
    ("Max", "Do not forget the food. People like bread and cheese, fish and ice cream.", 0.8),
    ("Robert", "They want a chocolate cake. A very big chocolate cake for the children.", 1.1),
    ("Anna", "At the end of the night we will have fireworks over the city.", 0.8),
    ("Max", "Fireworks over the river are even better. Everyone can see them from the bridge.", 0.9),
    ("Robert", "Good idea. Fireworks in the sky, and all the people are dancing.", 0.8),
    ("Anna", "Wonderful. We will open the festival on the first of July. Thank you, everyone.", 0.0),
)


def speak(voice: str, text: str, folder: Path) -> np.ndarray:
    """One line as float64 in -1…1, shape (n,), 16 kHz, trimmed and at `LEVEL`."""
    path = folder / "line.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    samples, rate_hz = soundfile.read(path)
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > SPEECH_FLOOR)
    samples = samples[max(0, loud[0] - 320) : loud[-1] + 640]
    samples = samples * (LEVEL / np.sqrt(np.mean(samples**2)))
    fade = np.linspace(0, 1, 160)
    samples[:160] *= fade
    samples[-160:] *= fade[::-1]
    return samples


def room(count: int) -> np.ndarray:
    """`count` samples of quiet noise that falls off with frequency, always the same."""
    white = np.random.default_rng(20).standard_normal(count)
    spectrum = np.fft.rfft(white)
    spectrum /= np.sqrt(1 + np.fft.rfftfreq(count, 1 / RATE_HZ) / 300)
    noise = np.fft.irfft(spectrum, count)
    return noise * (ROOM_LEVEL / np.sqrt(np.mean(noise**2)))


def write_opus(path: Path, samples: np.ndarray) -> None:
    """Ogg Opus, mono, from float samples at 16 kHz."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    # bitexact keeps the page serial from being random, so that the same words give the same file.
    with av.open(str(path), "w", format="ogg", options={"fflags": "bitexact"}) as container:
        container.metadata["title"] = "A garden by the river"
        container.metadata["license"] = "Apache-2.0"
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono", options={"application": "voip"})
        stream.bit_rate = BITRATE
        frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
        frame.sample_rate = RATE_HZ
        fifo = av.AudioFifo()
        fifo.write(frame)
        while piece := fifo.read(RATE_HZ // 50, partial=True):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def make(folder: Path) -> None:
    """Write `dialogue.opus` and `dialogue.json` into `folder`."""
    pieces = [np.zeros(int(LEAD_S * RATE_HZ))]
    script = []
    position = len(pieces[0])
    with tempfile.TemporaryDirectory() as scratch:
        for speaker, text, pause_s in LINES:
            samples = speak(VOICES[speaker], text, Path(scratch))
            start, end = position, position + len(samples)
            script.append(
                {
                    "speaker": speaker,
                    "text": text,
                    "start_s": round(start / RATE_HZ, 3),
                    "end_s": round(end / RATE_HZ, 3),
                }
            )
            silence = np.zeros(int((pause_s or TAIL_S) * RATE_HZ))
            pieces += [samples, silence]
            position = end + len(silence)
    whole = np.concatenate(pieces)
    whole += room(len(whole))
    folder.mkdir(parents=True, exist_ok=True)
    write_opus(folder / "dialogue.opus", whole)
    content = {
        "language": "en",
        "duration_s": round(len(whole) / RATE_HZ, 3),
        "speakers": [{"name": name, "voice": f"flite {voice}"} for name, voice in VOICES.items()],
        "lines": script,
    }
    (folder / "dialogue.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_errors(reference: list[str], heard: list[str]) -> int:
    """Substitutions, insertions and deletions: the Levenshtein distance over words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, 1):
        new = [i]
        for j, other in enumerate(heard, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (word != other)))
        row = new
    return row[-1]


def check(folder: Path) -> None:
    """Decode each line of the finished file with PocketSphinx and print the word error rate by speaker."""
    from pocketsphinx import Decoder

    script = json.loads((folder / "dialogue.json").read_text())
    samples, rate_hz = soundfile.read(folder / "dialogue.opus", dtype="float64")
    decoder = Decoder(loglevel="FATAL")
    errors: dict[str, int] = dict.fromkeys(VOICES, 0)
    totals: dict[str, int] = dict.fromkeys(VOICES, 0)
    for line in script["lines"]:
        start, end = (int(max(0.0, at) * rate_hz) for at in (line["start_s"] - 0.3, line["end_s"] + 0.3))
        piece = soxr.resample(samples[start:end], rate_hz, RATE_HZ)
        decoder.start_utt()
        decoder.process_raw((np.clip(piece, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        heard = decoder.hyp().hypstr if decoder.hyp() else ""
        reference = words_of(line["text"])
        wrong = word_errors(reference, words_of(heard))
        errors[line["speaker"]] += wrong
        totals[line["speaker"]] += len(reference)
        print(f"{line['speaker']:7} {line['end_s'] - line['start_s']:4.1f} s {wrong:2}/{len(reference):2}  {heard}")
    for name in VOICES:
        print(f"{name}: word error rate {errors[name] / totals[name]:.3f}")
    print(f"all: word error rate {sum(errors.values()) / sum(totals.values()):.3f} over {sum(totals.values())} words")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEMO_FOLDER, help="folder to write to")
    parser.add_argument("--check", action="store_true", help="decode every line and print the word error rate")
    parser.add_argument("--check-only", action="store_true", help="the same, without making the files again")
    args = parser.parse_args()
    if not args.check_only:
        make(args.out)
    if args.check or args.check_only:
        check(args.out)


if __name__ == "__main__":
    main()
