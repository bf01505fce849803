// Answers on their way to the server. An answer is written to IndexedDB before the task goes on, sent in order, one at a
// time, again and again until the server has acknowledged it, and only then deleted.

const NAME = "percepsilon";
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
const TIMEOUT_MS = 15_000;

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function openStore() {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => {
    opening.result.createObjectStore("answers", { keyPath: ["session_id", "trial_index"] });
    opening.result.createObjectStore("begun", { keyPath: ["session_id", "trial_index"] });
  };
  return settled(opening);
}

function pauseUnlessOnline(ms) {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      window.removeEventListener("online", wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    window.addEventListener("online", wake);
  });
}

export class Outbox {
  /** Opens the outbox of one session; onCount is told how many answers wait, onLost that the session is gone. */
  static async open(sessionId, { onCount, onLost }) {
    return new Outbox(await openStore(), sessionId, onCount, onLost);
  }

  constructor(store, sessionId, onCount, onLost) {
    Object.assign(this, { store, sessionId, onCount, onLost, sending: null, waiting: new Map() });
  }

  /** Stores an answer, starts sending; gives a promise of what the server said to it. */
  async put(answer) {
    const entry = { session_id: this.sessionId, trial_index: answer.trial_index, answer };
    const transaction = this.store.transaction("answers", "readwrite", { durability: "strict" });
    await settled(transaction.objectStore("answers").add(entry));
    const acknowledged = new Promise((resolve) => this.waiting.set(answer.trial_index, resolve));
    this.onCount((await this.pending()).length);
    this.send();
    return { acknowledged };
  }

  /** Counts a beginning of a trial and gives how many there were. */
  async begin(trialIndex) {
    const begun = this.store.transaction("begun", "readwrite").objectStore("begun");
    const entry = await settled(begun.get([this.sessionId, trialIndex]));
    const times = (entry?.times ?? 0) + 1;
    await settled(begun.put({ session_id: this.sessionId, trial_index: trialIndex, times }));
    return times;
  }

  /** Resolves when the server holds everything that was put. */
  async drained() {
    this.send();
    await this.sending;
  }

  send() {
    this.sending ??= this.sendAll().finally(() => (this.sending = null));
  }

  async sendAll() {
    for (let entries = await this.pending(); entries.length > 0; entries = await this.pending()) {
      this.onCount(entries.length);
      const body = await this.sendUntilAcknowledged(entries[0].answer);
      await this.remove(entries[0].trial_index);
      this.waiting.get(entries[0].trial_index)?.(body);
      this.waiting.delete(entries[0].trial_index);
    }
    this.onCount(0);
  }

  pending() {
    const range = IDBKeyRange.bound([this.sessionId, -Infinity], [this.sessionId, Infinity]);
    return settled(this.store.transaction("answers").objectStore("answers").getAll(range));
  }

  remove(trialIndex) {
    const answers = this.store.transaction("answers", "readwrite").objectStore("answers");
    return settled(answers.delete([this.sessionId, trialIndex]));
  }

  async sendUntilAcknowledged(answer) {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      const reply = await post("/api/v1/trials", answer).catch(() => null);
      if (reply?.ok) return reply.json().catch(() => ({}));
      if (reply && [401, 409, 422].includes(reply.status)) return this.give_up(reply);
      await pauseUnlessOnline(pause * (0.5 + Math.random()));
    }
  }

  /** The server will never take this answer: it holds another one (the first stands), or the session is gone. */
  async give_up(reply) {
    const { error } = await reply.json().catch(() => ({}));
    if (error?.code !== "answered") this.onLost(error?.code ?? String(reply.status));
    return {};
  }
}

const csrf = document.querySelector("meta[name=csrf]").content;

/** Posts JSON to our own server, with the page's token that no other site knows. */
export function post(path, body) {
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
    keepalive: true,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}
