/**
 * The one store of the room. Server messages are upserts by id, so a repeat changes nothing; a hole in `rev` asks for a
 * snapshot. Views subscribe to kinds: meeting, people, speakers, captions, interims, frames, painting, status, connection.
 */

const MOST_CAPTIONS = 500;
const MOST_FRAMES = 60;
/** An interim that nothing follows was no speech after all. */
const INTERIM_LIFE_S = 12;

/** Unix seconds from a number or an ISO date. */
export function seconds(value) {
  if (typeof value === "number") return value;
  return value ? Date.parse(value) / 1000 : 0;
}

export class Store {
  constructor() {
    this.rev = null; // until the first snapshot
    this.you = null;
    this.meeting = {};
    this.people = new Map();
    this.speakers = new Map();
    this.captions = [];
    this.interims = new Map();
    this.frames = [];
    this.painting = null; // the picture on its way, else the wish that waits
    this.wish = null; // the wish behind it
    this.status = { engines: {}, queue: {}, lag_s: 0 };
    this.connection = { phase: "connecting" };
    this.clockOffsetS = 0;
    this.onGap = () => {};
    this.listeners = new Map();
    this.changed = new Set();
  }

  /** Now, by the server's clock, in Unix seconds. */
  now() {
    return Date.now() / 1000 + this.clockOffsetS;
  }

  on(kinds, listener) {
    for (const kind of kinds.split(" ")) {
      if (!this.listeners.has(kind)) this.listeners.set(kind, new Set());
      this.listeners.get(kind).add(listener);
    }
  }

  touch(...kinds) {
    if (!this.changed.size) queueMicrotask(() => this.#tell());
    for (const kind of kinds) this.changed.add(kind);
  }

  #tell() {
    const listeners = new Set();
    for (const kind of this.changed) for (const listener of this.listeners.get(kind) ?? []) listeners.add(listener);
    this.changed.clear();
    for (const listener of listeners) listener(this);
  }

  apply(message) {
    if (message.type !== "snapshot" && typeof message.rev === "number") this.#seeRev(message.rev);
    const handler = handlers[message.type];
    if (handler) this.touch(...handler(this, message));
  }

  #seeRev(rev) {
    if (this.rev !== null && rev > this.rev + 1) this.onGap();
    this.rev = Math.max(this.rev ?? rev, rev);
  }

  speaker(id) {
    return this.speakers.get(id);
  }

  /** The speaker of a caption as known now: a rename reaches old captions too. */
  speakerOf(caption) {
    const said = caption.speaker;
    if (!said) return null;
    return { ...said, ...(this.speakers.get(said.id) ?? {}), state: said.state, confidence: said.confidence };
  }

  readyFrames() {
    return this.frames.filter((frame) => frame.url && !frame.hidden);
  }

  latestFrame() {
    return this.frames.findLast((frame) => frame.url && !frame.hidden) ?? null;
  }

  frame(id) {
    return this.frames.find((frame) => frame.id === id) ?? null;
  }

  /** When a picture was finished, in Unix seconds. */
  paintedAt(frame) {
    return seconds(frame.painted_at ?? frame.ready_at ?? frame.created_at) || frame.arrivedAt;
  }

  putCaption(caption) {
    const known = this.captions.findIndex((other) => other.id === caption.id);
    if (known >= 0) {
      if ((caption.rev ?? 0) >= (this.captions[known].rev ?? 0)) this.captions[known] = caption;
    } else {
      let place = this.captions.length;
      while (place > 0 && seconds(this.captions[place - 1].started_at) > seconds(caption.started_at)) place -= 1;
      this.captions.splice(place, 0, caption);
      if (this.captions.length > MOST_CAPTIONS) this.captions.shift();
    }
    if (caption.speaker?.id != null) this.putSpeaker(caption.speaker);
  }

  putSpeaker(speaker) {
    const { state, confidence, ...lasting } = speaker;
    this.speakers.set(speaker.id, { ...this.speakers.get(speaker.id), ...lasting });
  }

  /** Two speakers were one: every line of the one that is gone goes under the one that stays. */
  merge(gone, stays) {
    this.speakers.delete(gone);
    for (const said of [...this.captions, ...this.interims.values()]) {
      if (said.speaker?.id === gone) said.speaker = { ...said.speaker, id: stays.id, name: stays.name, color: stays.color };
    }
  }

  endPainting(id) {
    if (this.wish?.id === id) this.wish = null;
    if (this.painting?.id !== id) return;
    this.painting = this.wish;
    this.wish = null;
  }

  putFrame(frame) {
    const known = this.frame(frame.id);
    if (known) Object.assign(known, frame);
    else this.frames.push({ arrivedAt: this.now(), ...frame });
    this.frames.sort((a, b) => this.paintedAt(a) - this.paintedAt(b));
    if (this.frames.length > MOST_FRAMES) this.frames.shift();
  }
}

function replaceMap(map, items = []) {
  map.clear();
  for (const item of items) map.set(item.id, item);
}

const handlers = {
  welcome(store, message) {
    store.you = message.you;
    if (message.meeting) Object.assign(store.meeting, message.meeting);
    const serverTime = seconds(message.server_time);
    if (serverTime) store.clockOffsetS = serverTime - Date.now() / 1000;
    return ["meeting", "people", "connection"];
  },

  snapshot(store, message) {
    store.rev = message.rev ?? store.rev;
    store.meeting = { ...store.meeting, ...message.meeting };
    if (message.people) replaceMap(store.people, message.people);
    if (message.speakers) store.speakers.clear();
    for (const speaker of message.speakers ?? []) store.putSpeaker(speaker);
    for (const caption of message.captions ?? []) store.putCaption(caption);
    store.interims.clear();
    store.wish = null;
    store.painting = message.painting ? { ...message.painting, since: seconds(message.painting.since) || store.now() } : null;
    for (const frame of message.frames ?? []) store.putFrame(frame);
    if (message.status) store.status = { at: store.now(), ...message.status };
    return ["meeting", "people", "speakers", "captions", "interims", "frames", "painting", "status"];
  },

  "caption.interim"(store, message) {
    // Empty text takes back what turned out to be no words.
    if (message.text) store.interims.set(message.stream, { ...message, at: store.now() });
    else store.interims.delete(message.stream);
    return ["interims"];
  },

  "caption.final"(store, message) {
    const interim = store.interims.get(message.stream);
    if (interim && seconds(interim.started_at) <= seconds(message.ended_at) + 0.05) store.interims.delete(message.stream);
    store.putCaption(message);
    return ["captions", "interims", "speakers"];
  },

  "caption.gap"(store, message) {
    store.putCaption({ started_at: message.started_at ?? store.now(), ...message, gap: true });
    return ["captions"];
  },

  "speaker.updated"(store, message) {
    if (message.merged_from) store.merge(message.merged_from.id ?? message.merged_from, message.speaker);
    store.putSpeaker(message.speaker);
    return ["speakers", "captions"];
  },

  "frame.queued"(store, message) {
    const wish = { since: store.now(), ...message, state: "waiting" };
    if (store.painting?.state === "painting" && store.painting.id !== message.id) store.wish = wish;
    else if (store.painting?.state !== "painting") store.painting = wish;
    return ["painting"];
  },

  "frame.started"(store, message) {
    if (store.wish?.id === message.id) store.wish = null;
    // The same one once more: its steps begin anew.
    store.painting = { since: store.now(), ...message, state: "painting" };
    return ["painting"];
  },

  "frame.progress"(store, message) {
    if (store.painting?.id !== message.id) store.painting = { since: store.now() };
    const now = store.now();
    const first = store.painting.first ?? { step: message.step, at: now };
    Object.assign(store.painting, message, { state: "painting", first: { ...first, newestAt: now } });
    return ["painting"];
  },

  "frame.ready"(store, message) {
    store.putFrame({ ...message, state: "ready" });
    store.endPainting(message.id);
    return ["frames", "painting"];
  },

  "frame.failed"(store, message) {
    store.endPainting(message.id);
    return ["painting"];
  },

  "frame.skipped"(store, message) {
    store.endPainting(message.id);
    return ["painting"];
  },

  "frame.updated"(store, message) {
    const frame = message.frame ?? message;
    if (store.frame(frame.id)) store.putFrame(frame);
    return ["frames"];
  },

  "meeting.updated"(store, message) {
    Object.assign(store.meeting, message.meeting ?? message);
    return ["meeting"];
  },

  presence(store, message) {
    if (message.people) replaceMap(store.people, message.people);
    else if (message.person) store.people.set(message.person.id, message.person);
    return ["people"];
  },

  status(store, message) {
    store.status = message; // a field that is left out has nothing to say any more
    for (const [stream, { at }] of store.interims) if (store.now() - at > INTERIM_LIFE_S) store.interims.delete(stream);
    return ["status", "interims"];
  },
};
