/**
 * Where sound comes from: a microphone or an audio file. Both hand over 96 ms blocks of 16 kHz PCM16 (`onsamples`),
 * a level 0–1 (`onlevel`) and say when they are over by themselves (`onended`).
 */

import { SAMPLE_RATE_HZ, toPcm16 } from "./resampler.js";

const BLOCK_SAMPLES = 1536;
const FLUSH_TIMEOUT_MS = 400;
/** Longer files are decoded whole in memory; four hours of mono float at 16 kHz are 0.9 GB, so two is plenty. */
const LONGEST_FILE_S = 2 * 3600;

class Source {
  onsamples = () => {};
  onlevel = () => {};
  onended = () => {};
}

export class MicrophoneSource extends Source {
  /**
   * Opens the device at once, so that the door can show its level; samples flow only after `go()`.
   *
   * @param {string} workletUrl
   * @param {string=} deviceId
   * @throws what getUserMedia throws: NotAllowedError, NotFoundError, NotReadableError …
   */
  static async open(workletUrl, deviceId = "") {
    const source = new MicrophoneSource();
    source.media = await navigator.mediaDevices.getUserMedia({
      audio: {
        ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
        channelCount: { ideal: 1 },
        echoCancellation: true, // the others' voices from this machine's loudspeaker are not ours to send
        noiseSuppression: false, // recognisers are trained on noise, not on what suppression leaves of a voice
        autoGainControl: true,
      },
    });
    [source.track] = source.media.getAudioTracks();
    source.context = new AudioContext({ latencyHint: "interactive" });
    await source.context.audioWorklet.addModule(workletUrl);
    source.node = new AudioWorkletNode(source.context, "meetviz-capture", { numberOfOutputs: 0 });
    source.context.createMediaStreamSource(source.media).connect(source.node);
    source.node.port.onmessage = ({ data }) => source.#message(data);
    source.track.onended = () => source.onended();
    source.going = false;
    await Promise.race([source.context.resume(), new Promise((done) => setTimeout(done, 300))]);
    return source;
  }

  get label() {
    return this.track.label;
  }

  get deviceId() {
    return this.track.getSettings().deviceId ?? "";
  }

  /** The browser keeps sound from starting until the person touches the page. */
  get needsTouch() {
    return this.context.state !== "running";
  }

  #message(data) {
    if (data.level !== undefined) this.onlevel(data.level);
    if (data.samples && this.going) this.onsamples(data.samples);
    if (data.flushed) this.flushed?.();
  }

  async go() {
    this.track.enabled = true;
    this.going = true;
    await this.context.resume();
  }

  /** Hand over what is left of the last block, then send nothing until `go()`. */
  async hold() {
    if (!this.going) return;
    await new Promise((done) => {
      this.flushed = done;
      this.node.port.postMessage({ flush: true });
      setTimeout(done, FLUSH_TIMEOUT_MS);
    });
    this.going = false;
    this.track.enabled = false;
    this.onlevel(0);
  }

  async stop() {
    await this.hold();
    for (const track of this.media.getTracks()) track.stop();
    await this.context.close();
  }
}

export class FileSource extends Source {
  /**
   * Decodes the file whole.
   *
   * @throws {DOMException} EncodingError when this browser cannot read it
   */
  static async open(file) {
    const source = new FileSource();
    source.label = file.name;
    const decoder = new OfflineAudioContext(1, 1, SAMPLE_RATE_HZ); // decodeAudioData resamples to its context's rate
    const audio = await decoder.decodeAudioData(await file.arrayBuffer());
    const length = Math.min(audio.length, LONGEST_FILE_S * SAMPLE_RATE_HZ);
    const mono = new Float32Array(length);
    for (let channel = 0; channel < audio.numberOfChannels; channel += 1) {
      const data = audio.getChannelData(channel);
      for (let i = 0; i < length; i += 1) mono[i] += data[i] / audio.numberOfChannels;
    }
    source.samples = toPcm16(mono);
    source.at = 0;
    return source;
  }

  needsTouch = false;

  get durationS() {
    return this.samples.length / SAMPLE_RATE_HZ;
  }

  get positionS() {
    return this.at / SAMPLE_RATE_HZ;
  }

  async go() {
    const startedAt = performance.now() - (this.at / SAMPLE_RATE_HZ) * 1000;
    this.timer = setInterval(() => {
      const due = ((performance.now() - startedAt) / 1000) * SAMPLE_RATE_HZ;
      while (this.at + BLOCK_SAMPLES <= due || (due >= this.samples.length && this.at < this.samples.length)) {
        const block = this.samples.slice(this.at, this.at + BLOCK_SAMPLES);
        this.at += block.length;
        this.onlevel(Math.max(...block) / 32768);
        this.onsamples(block);
      }
      if (this.at >= this.samples.length) {
        clearInterval(this.timer);
        this.onlevel(0);
        this.onended();
      }
    }, 80);
  }

  async hold() {
    clearInterval(this.timer);
    this.onlevel(0);
  }

  async stop() {
    await this.hold();
  }
}
