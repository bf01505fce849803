// Answers on their way to the server. An answer is written to IndexedDB before the task goes on, sent in order, one at a
// time, again and again until the server has acknowledged it, and only then deleted.

import { Pauses, insistOnPosting } from "./server.js";

const NAME = "percepsilon";

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function committed(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
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

/** In the order of answering, which is not that of the indexes: a trial that was put in later has a higher one. */
function inOrder(entries) {
  return entries.sort((one, other) => one.place - other.place);
}

export class Outbox {
  /**
   * Opens the outbox of one session; onCount is told how many answers wait, onRefused why the server takes no more.
   * `path` takes the answers, `final` are the statuses by which it says no for good.
   */
  static async open(sessionId, { onCount, onRefused, path = "/api/v1/trials", final }) {
    return new Outbox(await openStore(), sessionId, { onCount, onRefused, path, final });
  }

  constructor(store, sessionId, { onCount, onRefused, path, final }) {
    const range = IDBKeyRange.bound([sessionId], [sessionId, []]); // every number and every text
    Object.assign(this, { store, sessionId, onCount, onRefused, path, final, range, sending: null, waiting: new Map() });
    this.pauses = new Pauses();
  }

  /** Stores an answer under its index, starts sending; gives a promise of what the server said to it. */
  async put(answer, index = answer.trial_index) {
    const key = { session_id: this.sessionId, trial_index: index };
    const transaction = this.store.transaction(["answers", "begun"], "readwrite", { durability: "strict" });
    const answers = transaction.objectStore("answers");
    const last = inOrder(await settled(answers.getAll(this.range))).at(-1);
    answers.add({ ...key, answer, place: (last?.place ?? 0) + 1 });
    transaction.objectStore("begun").delete([key.session_id, key.trial_index]);
    await committed(transaction);
    const acknowledged = new Promise((resolve) => this.waiting.set(index, resolve));
    this.onCount((await this.pending()).length);
    this.send();
    return { acknowledged };
  }

  /** Counts a beginning of a trial that has no answer yet and gives how many there were. */
  async begin(trialIndex) {
    const transaction = this.store.transaction("begun", "readwrite");
    const begun = transaction.objectStore("begun");
    const entry = await settled(begun.get([this.sessionId, trialIndex]));
    const times = (entry?.times ?? 0) + 1;
    begun.put({ session_id: this.sessionId, trial_index: trialIndex, times });
    await committed(transaction);
    return times;
  }

  /** Gives the indexes of the trials that were begun and not answered. */
  async begun() {
    const entries = await settled(this.store.transaction("begun").objectStore("begun").getAll(this.range));
    return entries.map((entry) => entry.trial_index);
  }

  forget(trialIndex) {
    const transaction = this.store.transaction("begun", "readwrite");
    transaction.objectStore("begun").delete([this.sessionId, trialIndex]);
    return committed(transaction);
  }

  /** Gives the entries that the server has not acknowledged, in order. */
  async pending() {
    return inOrder(await settled(this.store.transaction("answers").objectStore("answers").getAll(this.range)));
  }

  /** Resolves when the server holds everything that was put. */
  async drained() {
    this.send();
    await this.sending;
  }

  /** Sends what there is, at once if it was pausing between two tries. */
  send() {
    this.pauses.wake();
    this.sending ??= this.sendAll().finally(() => (this.sending = null));
  }

  async sendAll() {
    for (let entries = await this.pending(); entries.length > 0; entries = await this.pending()) {
      this.onCount(entries.length);
      await this.deliver(entries[0]);
    }
    this.onCount(0);
  }

  /** An answer that the server will never take is given up; the first one stands, or the trial is not wanted any more. */
  async deliver({ trial_index, answer }) {
    this.pauses = new Pauses();
    const [body, refused] = await insistOnPosting(this.path, answer, { pauses: this.pauses, final: this.final }).then(
      (reply) => [reply, null],
      (error) => [{}, error],
    );
    if (refused?.status === 401 || refused?.status === 403) {
      this.onRefused(refused);
      await new Promise(() => {}); // the answer stays: another page may be able to send it
    }
    await this.remove(trial_index);
    if (refused && refused.code !== "answered") this.onRefused(refused);
    this.waiting.get(trial_index)?.(body);
    this.waiting.delete(trial_index);
  }

  remove(trialIndex) {
    const transaction = this.store.transaction("answers", "readwrite");
    transaction.objectStore("answers").delete([this.sessionId, trialIndex]);
    return committed(transaction);
  }
}
