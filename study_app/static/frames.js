// Time in the browser's own frames. A frame callback is told when its frame began; what it paints is on the screen from
// the next frame on. Durations are counted in refreshes of the screen, whatever its rate.

const FIRST_INTERVALS = 4; // fewer frame intervals tell no refresh rate
const LONG_FRAME = 1.5; // refresh periods

export const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

/** Refresh period in milliseconds: the median interval of frame times. */
export function refreshPeriod(times) {
  const intervals = times.slice(1).map((time, index) => time - times[index]);
  return intervals.sort((a, b) => a - b)[Math.floor(intervals.length / 2)];
}

/** The nearest whole number of refreshes to a duration, and at least one. */
export function wholeFrames(ms, period) {
  return Math.max(1, Math.round(ms / period));
}

/** Waits for a duration; ends inside a frame callback and gives the frame times, enough of them for a refresh period. */
export async function framesFor(ms) {
  const times = [await nextFrame()];
  while (times.at(-1) - times[0] < ms || times.length <= FIRST_INTERVALS) times.push(await nextFrame());
  return times;
}

/** Keeps the times of all frames from the one that began at `first`, in whose callback it is made. */
export class FrameLog {
  constructor(first, period) {
    Object.assign(this, { first, times: [first], period, waiting: [], running: true });
    this.request();
  }

  request() {
    requestAnimationFrame((time) => {
      if (!this.running) return;
      this.times.push(time);
      this.waiting = this.waiting.filter(({ holds, resolve }) => !holds(time) || resolve(time));
      this.request();
    });
  }

  /** Ends inside the callback of the first frame, from the last one on, for which `holds(time)`; gives its time. */
  until(holds) {
    const last = this.times.at(-1);
    if (holds(last)) return Promise.resolve(last);
    return new Promise((resolve) => this.waiting.push({ holds, resolve }));
  }

  /** Refreshes of the screen between two frame times, those that were missed included. */
  refreshes(from, to = this.times.at(-1)) {
    return Math.round((to - from) / this.period);
  }

  /** Stops and gives how many frames took longer than a refresh. */
  stop() {
    this.running = false;
    return this.times.slice(1).filter((time, index) => time - this.times[index] > LONG_FRAME * this.period).length;
  }
}
