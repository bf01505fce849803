// Talking to our own server: again and again until it answers, and going where it says when it says no.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
const TIMEOUT_MS = 15_000;
const KEEPALIVE_LIMIT = 32_000; // browsers refuse to keep more than 64 KiB alive, all requests together

const csrf = document.querySelector("meta[name=csrf]").content;

/** A random UUID, also where crypto.randomUUID is not to be had: on a page without HTTPS. */
export function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

/** The pauses between tries: longer and longer, spread at random, cut short by wake() and when the network is back. */
export class Pauses {
  constructor(first = FIRST_PAUSE_MS, longest = LONGEST_PAUSE_MS) {
    Object.assign(this, { next: first, longest, wake: () => {} });
  }

  wait() {
    const ms = this.next * (0.5 + Math.random());
    this.next = Math.min(2 * this.next, this.longest);
    return new Promise((resolve) => {
      this.wake = () => {
        clearTimeout(timer);
        window.removeEventListener("online", this.wake);
        resolve();
      };
      const timer = setTimeout(() => this.wake(), ms);
      window.addEventListener("online", this.wake);
    });
  }
}

/** Posts JSON with the page's token, which no other site knows. */
export function post(path, body) {
  const text = JSON.stringify(body);
  return fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: text,
    keepalive: text.length < KEEPALIVE_LIMIT,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}

/** The server said no for good. `code` and `next` are its own; `next` is the page to go to, if it names one. */
export class Refused extends Error {
  constructor(status, { code, message, next } = {}) {
    super(`The study answered ${status}: ${message ?? "no reason given"}`);
    Object.assign(this, { status, code: code ?? String(status), next: status === 401 ? "/" : next });
  }

  static async from(reply) {
    const { error } = await reply.json().catch(() => ({}));
    return new Refused(reply.status, error);
  }
}

const FINAL = [401, 403, 409, 422];

/** Gives the JSON that the server answers to `ask()`, asked until it does; throws Refused if it says no for good. */
export async function insist(ask, { pauses = new Pauses(), final = FINAL } = {}) {
  for (;;) {
    const reply = await ask().catch(() => null);
    if (reply?.ok) return reply.json();
    if (reply && final.includes(reply.status)) throw await Refused.from(reply);
    await pauses.wait();
  }
}

export function insistOnGetting(path) {
  return insist(() => fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) }));
}

export function insistOnPosting(path, body, options) {
  return insist(() => post(path, body), options);
}
