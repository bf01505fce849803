// jsPsych plugin: one picture or two, pixel for pixel, and the answer; for all tasks.
//
// The pictures were decoded before the trial, and are painted while they are still hidden. They are uncovered in a frame
// callback; onset is the time of the next frame, by which they are on the screen. Response times run from the onset to
// the time stamp of the input event, in fractional milliseconds. A timed exposure ends after a whole number of refreshes
// from the frame of uncovering, whether there is an answer or not; a self-paced picture stays until the trial ends.

import { element, firstChoice, focusOn } from "./choices.js";
import { FrameLog, framesFor, nextFrame, refreshPeriod, wholeFrames } from "./frames.js";
import { Stage, noise } from "./stage.js";
import { fill } from "./texts.js";
import { TrialView, wordFor } from "./trial-view.js";

const { ParameterType } = jsPsychModule;
const SECOND_TAP_MS = 200; // a rating sooner after the answer is the second tap of a double one
const LONG_WAIT_MS = 1500;

const info = {
  name: "perturbation-trial",
  version: "2.0.0",
  parameters: {
    /** "yes-no", "2afc" or "same-different". */
    task: { type: ParameterType.STRING },
    /** The two answers, the one that says that there is a perturbation first. */
    answers: { type: ParameterType.STRING, array: true },
    /** Side of the first answer: "left" or "right"; without effect in 2afc. */
    yes_side: { type: ParameterType.STRING },
    /** The answer that the trial asks for, if it asks for one. */
    instructed: { type: ParameterType.STRING, default: null },
    /** Levels of the confidence rating after the answer; 0: none. */
    confidence: { type: ParameterType.INT, default: 0 },
    /** Gives the decoded pictures, from left to right: a promise of ImageBitmaps. */
    pictures: { type: ParameterType.FUNCTION },
    /** Counts that the trial begins: a promise of how often it did. */
    begin: { type: ParameterType.FUNCTION },
    /** Largest side of a picture, CSS pixels. */
    target_css_px: { type: ParameterType.INT },
    /** Duration of the fixation mark, milliseconds. */
    fixation_ms: { type: ParameterType.INT },
    /** Duration of the pictures, milliseconds; 0: until the trial ends. */
    exposure_ms: { type: ParameterType.INT, default: 0 },
    /** Duration of the noise after them, milliseconds; 0: none. */
    mask_ms: { type: ParameterType.INT, default: 0 },
    /** What the noise is made from. */
    mask_seed: { type: ParameterType.STRING, default: "" },
    /** Duration of the feedback, milliseconds. */
    feedback_ms: { type: ParameterType.INT },
    /** Takes the answer; the trial ends when its promise is kept. With {correct} there is feedback. */
    submit: { type: ParameterType.FUNCTION },
    /** The page's texts by name. */
    texts: { type: ParameterType.OBJECT },
  },
  data: {
    /** One of the answers. */
    response: { type: ParameterType.STRING },
    /** 1 to `confidence`; null if not asked. */
    confidence: { type: ParameterType.INT },
    /** From the frame by which the rating scale is on the screen. */
    confidence_rt_ms: { type: ParameterType.FLOAT },
    /** From the onset, milliseconds. */
    rt_ms: { type: ParameterType.FLOAT },
    /** Time of the frame by which the pictures are on the screen, since the page's start. */
    onset_ms: { type: ParameterType.FLOAT },
    /** Refreshes that the pictures were to stand; null if self-paced. */
    frames_planned: { type: ParameterType.INT },
    /** Refreshes that they stood; if self-paced, until the answer. */
    frames_shown: { type: ParameterType.INT },
    /** Refreshes that the mask stood; null if there is none. */
    mask_frames: { type: ParameterType.INT },
    /** Frames that took longer than one and a half refreshes. */
    long_frames: { type: ParameterType.INT },
    /** Median over the fixation. */
    refresh_hz: { type: ParameterType.FLOAT },
    device_pixel_ratio: { type: ParameterType.FLOAT },
    /** Width of a picture, CSS pixels. */
    css_px: { type: ParameterType.FLOAT },
    /** Device pixels per picture pixel. */
    scale: { type: ParameterType.INT },
    /** "keyboard", "mouse", "touch" or "pen". */
    input_type: { type: ParameterType.STRING },
    blur_count: { type: ParameterType.INT },
    hidden_count: { type: ParameterType.INT },
    /** How often the trial was begun, and its pictures were given another size while they stood. */
    attempt: { type: ParameterType.INT },
  },
};

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let focusedKey = null; // of the button that the keyboard is on, from trial to trial

const notice = (text) => element("p", { class: "sheet", role: "status" }, text);

/** Gives what the promise gives; says so in between if it takes long. */
async function noticed(promise, say) {
  const timer = setTimeout(say, LONG_WAIT_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** Calls back at each change of the window's size or zoom, until it is stopped. */
function watchWindow(onChange) {
  const controller = new AbortController();
  const { signal } = controller;
  window.addEventListener("resize", onChange, { signal });
  const watchRatio = () => {
    const query = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    query.addEventListener("change", () => (onChange(), watchRatio()), { signal, once: true });
  };
  watchRatio();
  return () => controller.abort();
}

/** Counts how often the page loses focus or is hidden, until it is stopped. */
function watchAttention() {
  const counts = { blur_count: 0, hidden_count: 0 };
  const controller = new AbortController();
  const { signal } = controller;
  window.addEventListener("blur", () => (counts.blur_count += 1), { signal });
  document.addEventListener("visibilitychange", () => (counts.hidden_count += document.hidden ? 1 : 0), { signal });
  return () => (controller.abort(), counts);
}

function layersOf(trial, pictures) {
  const made = (picture, place) => noise(picture.width, picture.height, `${trial.mask_seed}/${place}`);
  return { pictures, mask: trial.mask_ms > 0 ? pictures.map(made) : [] };
}

/** Fits the pictures to the window, now and whenever it changes; counts when that gave shown pictures another size. */
function keepFitting(view, stage) {
  let resized = 0;
  const refit = () => {
    if (stage.fit() && view.uncovered) resized += 1;
    view.name(stage.stacked);
  };
  refit();
  return { stop: watchWindow(refit), resized: () => resized };
}

function plannedFrames(trial, period) {
  const frames = (ms) => (ms > 0 ? wholeFrames(ms, period) : null);
  return { frames_planned: frames(trial.exposure_ms), mask: frames(trial.mask_ms) };
}

/** Shows the pictures and the mask for their time, from the log's first frame on; null for what is not timed. */
async function expose(stage, log, { frames_planned, mask }) {
  const passed = (from, frames) => log.until((time) => log.refreshes(from, time) >= frames);
  if (frames_planned === null) return { frames_planned, frames_shown: null, mask_frames: null };
  const end = await passed(log.first, frames_planned);
  stage.show(mask === null ? null : "mask");
  const shown = { frames_planned, frames_shown: log.refreshes(log.first, end), mask_frames: null };
  if (mask === null) return shown;
  const bare = await passed(end, mask);
  stage.show(null);
  return { ...shown, mask_frames: log.refreshes(end, bare) };
}

/** Asks how sure the participant is; an instructed trial does not. */
async function rate(view, stage, trial) {
  if (trial.confidence === 0 || trial.instructed) return { confidence: null, confidence_rt_ms: null };
  const row = view.askConfidence();
  stage.align();
  focusOn(row, focusedKey && row.choices[0].key);
  await nextFrame();
  const since = await nextFrame();
  setTimeout(() => view.phase("rating"), SECOND_TAP_MS);
  const rated = await firstChoice(row, since + SECOND_TAP_MS);
  return { confidence: Number(rated.value), confidence_rt_ms: rated.time - since };
}

function feedback({ correct }, response, { answers, texts }, stacked) {
  const truth = correct ? response : answers.find((answer) => answer !== response);
  return fill(texts[correct ? "feedback-right" : "feedback-wrong"], { truth: wordFor(texts, "truth", truth, stacked) });
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
    const pictures = await noticed(trial.pictures(), () => displayElement.replaceChildren(notice(trial.texts.waiting)));
    const begun = await trial.begin();
    const view = new TrialView(trial);
    const stage = new Stage(view.canvas, layersOf(trial, pictures), trial.target_css_px);
    displayElement.replaceChildren(view.root);
    const fitting = keepFitting(view, stage);
    const stopAttention = watchAttention();
    const asked = await this.ask(view, stage, trial);
    const attempt = begun + fitting.resized();
    const data = { ...asked, ...stage.placing(), ...stopAttention(), attempt };
    await this.conclude(view, stage, trial, data);
    fitting.stop();
    this.jsPsych.finishTrial(data);
  }

  /** From the fixation mark to the last thing that is asked; gives what the participant did, and what was shown. */
  async ask(view, stage, trial) {
    stage.show("pictures");
    focusOn(view.answers, focusedKey);
    const fixation = await framesFor(trial.fixation_ms);
    const log = new FrameLog(fixation.at(-1), refreshPeriod(fixation));
    view.uncover();
    const onset = await log.until((time) => time > log.first);
    const answering = firstChoice(view.answers, onset);
    const exposing = expose(stage, log, plannedFrames(trial, log.period));
    view.phase("answering");
    const answer = await answering;
    view.phase("answered");
    focusedKey = answer.focused;
    const untilAnswer = log.refreshes(log.first);
    const shown = await exposing;
    const long_frames = log.stop();
    return {
      response: answer.value,
      rt_ms: answer.time - onset,
      input_type: answer.input_type,
      onset_ms: onset,
      ...shown,
      frames_shown: shown.frames_shown ?? untilAnswer,
      long_frames,
      refresh_hz: 1000 / log.period,
      ...(await rate(view, stage, trial)),
    };
  }

  /** Hands the answer over, and gives feedback if the server does. */
  async conclude(view, stage, trial, data) {
    const waiting = () => (view.feedback.textContent = trial.texts.waiting);
    const told = await noticed(trial.submit(data), waiting);
    if (!told) return;
    view.feedback.textContent = feedback(told, data.response, trial, stage.stacked);
    await pause(trial.feedback_ms);
  }
}

export default PerturbationTrial;
