// The task: makes a jsPsych timeline of what the server planned, from the first trial that has no answer yet.

import { Outbox } from "./outbox.js";
import PerturbationTrial from "./perturbation-trial.js";
import { Pictures } from "./pictures.js";
import { firstScreen, screenBefore, show, stopAt, TextScreen } from "./screens.js";
import { insistOnGetting, insistOnPosting, newUuid } from "./server.js";
import { becomeTheOnlyTab } from "./tabs.js";
import { fill, readTexts, screenContent } from "./texts.js";

const task = document.getElementById("task");
const saving = document.getElementById("saving");
const progress = document.getElementById("progress");
const texts = readTexts();
const LATE_MS = 3000; // unsent answers after the last trial are offered as a file after this time

function showCount(waiting) {
  saving.textContent = waiting === 0 ? "" : fill(texts[waiting === 1 ? "saving-one" : "saving-many"], { waiting });
}

function fail(error) {
  console.warn(error);
  stopAt(task, "failure");
}

/** Goes where the server says; a page that is out of date is loaded again. */
function onRefused(refused) {
  if (refused.next) location.replace(refused.next);
  else if (refused.status === 409 || refused.status === 422) location.reload();
  else fail(refused);
}

/** Tells the server that a page was loaded, and which trial was seen on an earlier one and never answered. */
async function visit(outbox) {
  const seen = await outbox.begun();
  const body = { client_uuid: newUuid(), seen_index: seen.at(-1) ?? null };
  const reply = await insistOnPosting("/api/v1/visits", body);
  if (reply.replaced) await outbox.forget(seen.at(-1));
  return reply;
}

function trialNode(trial, place, { state, outbox, pictures }) {
  return {
    type: PerturbationTrial,
    task: state.task,
    answers: state.answers,
    yes_side: state.yes_side,
    instructed: trial.instructed,
    confidence: state.confidence,
    pictures: () => pictures.take(trial),
    begin: () => outbox.begin(trial.index),
    target_css_px: state.target_css_px,
    fixation_ms: state.fixation_ms,
    exposure_ms: state.exposure_ms,
    mask_ms: state.mask_ms,
    mask_seed: `${state.session_id}/${trial.index}`,
    feedback_ms: state.feedback_ms,
    texts,
    submit: async (data) => {
      const { acknowledged } = await outbox.put({ ...data, trial_index: trial.index, client_uuid: newUuid() });
      progress.value = (place + 1) / state.trials.length;
      if (trial.phase !== "practice" && !state.adaptive) return null;
      const told = await acknowledged;
      return "correct" in told ? told : null;
    },
  };
}

/** The screens and trials that are still to come. */
function timeline(context, warmUp) {
  const { state, place } = context;
  const screen = (content) => ({ type: TextScreen, content: () => content });
  const nodes = [screen(firstScreen(state, place, warmUp))];
  for (let at = place; at < state.trials.length; at += 1) {
    const between = at > place && screenBefore(state, at);
    if (between) nodes.push(screen(between));
    nodes.push(trialNode(state.trials[at], at, context));
  }
  return nodes;
}

/** Offers the answers that are still on their way as a file, while the outbox goes on trying. */
async function offerAnswers(outbox) {
  const entries = await outbox.pending();
  if (entries.length === 0) return;
  show(task, screenContent("last-answers", {}));
  const text = JSON.stringify(entries, null, 2);
  const link = task.querySelector("a[download]");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
}

async function finish(outbox) {
  const timer = setTimeout(() => offerAnswers(outbox).catch(fail), LATE_MS);
  await outbox.drained();
  clearTimeout(timer);
  const { next } = await insistOnPosting("/api/v1/finish", {});
  location.replace(next);
}

async function play() {
  const outbox = await Outbox.open(task.dataset.session, { onCount: showCount, onRefused });
  document.addEventListener("visibilitychange", () => outbox.send());
  await outbox.drained();
  const { warm_up } = await visit(outbox);
  const state = await insistOnGetting(task.dataset.state);
  const place = state.trials.findIndex((trial) => trial.index === state.next_index);
  if (place < 0) return finish(outbox);

  progress.value = place / state.trials.length;
  const pictures = new Pictures(state.trials.slice(place), !state.adaptive);
  pictures.load(state.trials[place]);
  document.addEventListener("task-failed", (event) => fail(event.detail));
  const on_finish = () => finish(outbox).catch(stop);
  task.replaceChildren();
  const jsPsych = jsPsychModule.initJsPsych({ display_element: task, on_finish });
  await jsPsych.run(timeline({ state, place, outbox, pictures }, warm_up));
}

function stop(error) {
  if (error.status) onRefused(error);
  else fail(error);
}

async function main() {
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  await becomeTheOnlyTab({
    onOther: (takeOver) => stopAt(task, "other-tab").addEventListener("click", takeOver, { once: true }),
    onTaken: () => location.reload(),
  });
  await play();
}

main().catch(stop);
