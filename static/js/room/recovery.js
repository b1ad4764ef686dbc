/**
 * A page that is reloaded keeps its word: audio that was not yet durable waits in this tab's session storage, goes out on
 * the next page under the same stream and numbers, and the person comes back in without the card.
 */

const COME_BACK_S = 60;
/** Storage holds about five million characters; base64 of a minute of PCM16 is 2.6. */
const MOST_SAMPLES = 60 * 16000;

export class Recovery {
  constructor(slug) {
    this.key = `meetviz:${slug}`;
  }

  /** Call when the page goes. @param {object} answer of the door @param {Iterable<object>} outboxes */
  leave(answer, outboxes) {
    const streams = [];
    for (const outbox of outboxes) {
      let chunks = outbox.chunks;
      while (chunks.length && outbox.written - chunks[0].first > MOST_SAMPLES) chunks = chunks.slice(1);
      if (!chunks.length) continue;
      const samples = new Int16Array(chunks.reduce((sum, chunk) => sum + chunk.samples.length, 0));
      let at = 0;
      for (const chunk of chunks) {
        samples.set(chunk.samples, at);
        at += chunk.samples.length;
      }
      streams.push({ id: outbox.id, first: chunks[0].first, label: outbox.label, language: outbox.language, pcm: toBase64(samples) });
    }
    const { capture, ...kept } = answer;
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ at: Date.now(), answer: kept, streams }));
    } catch {
      // no room or no storage: the door asks again and what was in flight ends as a gap
    }
  }

  /** @returns {?{answer: object, streams: object[]}} what the page before left, once */
  take() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.key));
      sessionStorage.removeItem(this.key);
      return kept && Date.now() - kept.at < COME_BACK_S * 1000 ? kept : null;
    } catch {
      return null;
    }
  }

  /** Put what was kept back into the socket's hands; the stream is closed once all of it is sent. */
  static resend(socket, streams) {
    for (const { id, first, label, language, pcm } of streams) {
      const outbox = socket.startStream({ label, language }, id);
      const samples = fromBase64(pcm);
      outbox.written = outbox.acked = outbox.sent = first;
      for (let at = 0; at < samples.length; at += 2560) socket.write(outbox, samples.slice(at, at + 2560));
      socket.endStream(outbox);
    }
  }
}

function toBase64(samples) {
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}
