// jsPsych plugin: one picture, pixel for pixel, and the answer whether it was changed.
//
// The picture was decoded before the trial. A canvas whose backing store is in device pixels shows it at a whole number
// of device pixels per picture pixel, unsmoothed. Onset is the time of the first frame after the one that painted the
// picture; the response time runs from there to the time stamp of the input event, in fractional milliseconds.

const { ParameterType } = jsPsychModule;
const LONG_FRAME = 1.5; // refresh periods
const MARGIN = 2; // device pixels of surround on the canvas, since browsers may blend a canvas' outermost pixels
const SURROUND = "#808080"; // as in study.css
const KEYS = { left: "f", right: "j" };

const info = {
  name: "perturbation-trial",
  version: "1.0.0",
  parameters: {
    /** Gives the decoded picture: a promise of an ImageBitmap. */
    picture: { type: ParameterType.FUNCTION },
    /** Side of the answer yes: "left" or "right". */
    yes_side: { type: ParameterType.STRING },
    /** Largest side of the picture, CSS pixels. */
    target_css_px: { type: ParameterType.INT },
    /** Duration of the fixation mark, milliseconds. */
    fixation_ms: { type: ParameterType.INT },
    /** Duration of the feedback, milliseconds. */
    feedback_ms: { type: ParameterType.INT },
    /** How often this trial was begun: more than 1 after a reload. */
    attempt: { type: ParameterType.INT, default: 1 },
    /** Takes the answer; the trial ends when its promise is kept. With {correct, changed} there is feedback. */
    submit: { type: ParameterType.FUNCTION },
  },
  data: {
    response: { type: ParameterType.STRING },
    rt_ms: { type: ParameterType.FLOAT },
    onset_ms: { type: ParameterType.FLOAT },
    frames_planned: { type: ParameterType.INT },
    frames_shown: { type: ParameterType.INT },
    long_frames: { type: ParameterType.INT },
    refresh_hz: { type: ParameterType.FLOAT },
    device_pixel_ratio: { type: ParameterType.FLOAT },
    css_px: { type: ParameterType.FLOAT },
    scale: { type: ParameterType.INT },
    input_type: { type: ParameterType.STRING },
    blur_count: { type: ParameterType.INT },
    hidden_count: { type: ParameterType.INT },
    attempt: { type: ParameterType.INT },
  },
};

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Device pixels per picture pixel: the largest whole number that fits, and at least one. */
export function wholeScale(targetCss, ratio, size) {
  return Math.max(1, Math.floor((targetCss * ratio) / size));
}

/** Refresh period in milliseconds: the median interval of frame times; null if there are too few. */
export function refreshPeriod(times) {
  const intervals = times.slice(1).map((time, index) => time - times[index]).sort((a, b) => a - b);
  return intervals.length < 3 ? null : intervals[Math.floor(intervals.length / 2)];
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function answerButton(side, response) {
  const label = response === "yes" ? "Yes, changed" : "No, not changed";
  const key = element("kbd", { "aria-hidden": "true" }, KEYS[side].toUpperCase());
  return element(
    "button",
    { type: "button", "data-response": response, "aria-keyshortcuts": KEYS[side].toUpperCase() },
    key,
    label,
  );
}

/** Builds the view: question, stage with canvas and fixation mark, buttons, feedback line. */
function buildView(yesSide) {
  const canvas = element("canvas", { role: "img", "aria-label": "The picture to judge" });
  const fixation = element("span", { class: "fixation", "aria-hidden": "true" }, "+");
  const stage = element("div", { class: "stage" }, canvas, fixation);
  const responses = yesSide === "left" ? { left: "yes", right: "no" } : { left: "no", right: "yes" };
  const buttons = Object.entries(responses).map(([side, response]) => answerButton(side, response));
  const answers = element("div", { class: "answers", role: "group", "aria-label": "Your answer" }, ...buttons);
  const feedback = element("p", { class: "feedback", role: "status" });
  const question = element("p", { class: "question" }, "Was this picture changed?");
  const root = element("div", { class: "trial" }, question, stage, answers, feedback);
  return { root, canvas, fixation, buttons, feedback, responses };
}

/** Sizes the canvas in device pixels and returns how the picture will stand on it. */
function fitCanvas(canvas, bitmap, targetCss) {
  const ratio = window.devicePixelRatio;
  const room = Math.min(targetCss, document.documentElement.clientWidth - 32);
  const scale = wholeScale(room, ratio, Math.max(bitmap.width, bitmap.height));
  canvas.width = bitmap.width * scale + 2 * MARGIN;
  canvas.height = bitmap.height * scale + 2 * MARGIN;
  canvas.style.width = `${canvas.width / ratio}px`;
  canvas.style.height = `${canvas.height / ratio}px`;
  return { scale, device_pixel_ratio: ratio, css_px: (bitmap.width * scale) / ratio };
}

/** Moves the canvas by less than a device pixel, so that its pixels fall onto the screen's; a transform would blur. */
function alignToDevicePixels(canvas, ratio) {
  const box = canvas.getBoundingClientRect();
  const off = (value) => Math.round(value * ratio) / ratio - value;
  canvas.style.left = `${off(box.left)}px`;
  canvas.style.top = `${off(box.top)}px`;
}

function paint(canvas, bitmap) {
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = SURROUND;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, MARGIN, MARGIN, canvas.width - 2 * MARGIN, canvas.height - 2 * MARGIN);
}

/** Counts how often the page loses focus or is hidden, until it is stopped. */
function watchAttention() {
  const counts = { blur_count: 0, hidden_count: 0 };
  const onBlur = () => (counts.blur_count += 1);
  const onHidden = () => (counts.hidden_count += document.hidden ? 1 : 0);
  window.addEventListener("blur", onBlur);
  document.addEventListener("visibilitychange", onHidden);
  const stop = () => {
    window.removeEventListener("blur", onBlur);
    document.removeEventListener("visibilitychange", onHidden);
    return counts;
  };
  return { stop };
}

/** Records the frames from now on; stop() gives their times. */
function watchFrames(first) {
  const times = [first];
  let running = true;
  const record = (time) => {
    if (!running) return;
    times.push(time);
    requestAnimationFrame(record);
  };
  requestAnimationFrame(record);
  return {
    stop: () => {
      running = false;
      return times;
    },
  };
}

/** Waits for a key or a button; gives the response, the time of the input event, and what kind of input it was. */
function firstAnswer(view, onset) {
  return new Promise((resolve) => {
    let pointer = null; // the last press: a click that follows it takes its time and kind
    const controller = new AbortController();
    const listen = (target, kind, handler) => target.addEventListener(kind, handler, { signal: controller.signal });
    const give = (response, time, inputType) => {
      if (time < onset) return;
      controller.abort();
      resolve({ response, time, input_type: inputType });
    };
    listen(document, "keydown", (event) => {
      const side = Object.keys(KEYS).find((name) => KEYS[name] === event.key.toLowerCase());
      if (!side || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      give(view.responses[side], event.timeStamp, "keyboard");
    });
    for (const button of view.buttons) {
      listen(button, "pointerdown", (event) => {
        pointer = { time: event.timeStamp, type: event.pointerType || "mouse" };
      });
      listen(button, "click", (event) => {
        const pressed = event.detail > 0 && pointer !== null;
        give(button.dataset.response, pressed ? pointer.time : event.timeStamp, pressed ? pointer.type : "keyboard");
      });
    }
  });
}

class PerturbationTrial {
  static info = info;

  constructor(jsPsych) {
    this.jsPsych = jsPsych;
  }

  trial(displayElement, trial) {
    this.run(displayElement, trial).catch((error) => {
      document.dispatchEvent(new CustomEvent("task-failed", { detail: error }));
    });
  }

  async run(displayElement, trial) {
    const bitmap = await trial.picture();
    const view = buildView(trial.yes_side);
    displayElement.replaceChildren(view.root);
    const shown = fitCanvas(view.canvas, bitmap, trial.target_css_px);
    view.canvas.style.visibility = "hidden";
    alignToDevicePixels(view.canvas, shown.device_pixel_ratio);

    const attention = watchAttention();
    const period = await this.fixate(trial.fixation_ms);
    paint(view.canvas, bitmap);
    view.fixation.remove();
    view.canvas.style.visibility = "visible";
    const onset = await nextFrame();

    const frames = watchFrames(onset);
    const answering = firstAnswer(view, onset);
    view.root.dataset.phase = "answering";
    const answer = await answering;
    view.root.dataset.phase = "answered";
    const times = frames.stop();
    for (const button of view.buttons) button.disabled = true;

    const data = {
      response: answer.response,
      confidence: null,
      confidence_rt_ms: null,
      rt_ms: answer.time - onset,
      onset_ms: onset,
      frames_planned: null,
      frames_shown: times.length,
      mask_frames: null,
      long_frames: times.slice(1).filter((time, i) => period && time - times[i] > LONG_FRAME * period).length,
      refresh_hz: period && 1000 / period,
      ...shown,
      input_type: answer.input_type,
      ...attention.stop(),
      attempt: trial.attempt,
    };
    const told = await trial.submit(data);
    if (told) {
      view.feedback.textContent = this.feedback(told);
      await pause(trial.feedback_ms);
    }
    this.jsPsych.finishTrial(data);
  }

  /** Waits for the fixation to pass; ends inside a frame callback and gives the refresh period. */
  async fixate(ms) {
    const times = [await nextFrame()];
    while (times.at(-1) - times[0] < ms) times.push(await nextFrame());
    return refreshPeriod(times);
  }

  feedback({ correct, changed }) {
    const truth = changed ? "it was changed" : "it was not changed";
    return correct ? `✓ Right: ${truth}.` : `✗ Not quite: ${truth}.`;
  }
}

export default PerturbationTrial;
