// The task: makes a jsPsych timeline of what the server planned, from the first trial that has no answer yet.

import { Outbox, post } from "./outbox.js";
import PerturbationTrial from "./perturbation-trial.js";
import { TextScreen, failure, instructions, mainBegins, pauseBetween, welcomeBack } from "./screens.js";

const task = document.getElementById("task");
const saving = document.getElementById("saving");
const progress = document.getElementById("progress");
const PICTURE_TRIES = 6;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function fetchState() {
  const reply = await fetch(task.dataset.state, { cache: "no-store" });
  if (!reply.ok) throw new Error(`The study answered ${reply.status}.`);
  return reply.json();
}

/** Gives the decoded picture, exactly as it is in its file, after a few tries. */
async function fetchPicture(url) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const reply = await fetch(url);
      if (!reply.ok) throw new Error(`A picture could not be loaded (${reply.status}).`);
      return await createImageBitmap(await reply.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch (error) {
      if (attempt === PICTURE_TRIES) throw error;
      await pause(300 * 2 ** attempt);
    }
  }
}

/** The decoded pictures, loaded a block at a time and one block ahead. */
class Pictures {
  constructor(trials) {
    this.trials = trials;
    this.loading = new Map();
  }

  load(number) {
    const block = this.trials.filter((each) => each.block === number);
    for (const trial of block.filter((each) => !this.loading.has(each.index))) {
      const bitmap = fetchPicture(trial.pictures[0]);
      bitmap.catch(() => {}); // reported by the trial that needs it
      this.loading.set(trial.index, bitmap);
    }
    return Promise.allSettled(block.map((each) => this.loading.get(each.index)));
  }

  take(trial) {
    this.load(trial.block);
    return this.loading.get(trial.index);
  }
}

function showCount(waiting) {
  saving.textContent = waiting === 0 ? "" : waiting === 1 ? "saving…" : `saving… ${waiting} left`;
}

function fail(error) {
  task.innerHTML = failure("The study could not go on.");
  console.warn(error);
}

function screen(text) {
  return { type: TextScreen, ...text };
}

function trialNode(trial, { state, outbox, pictures, total }) {
  return {
    type: PerturbationTrial,
    picture: () => pictures.take(trial),
    yes_side: state.yes_side,
    target_css_px: state.target_css_px,
    fixation_ms: state.fixation_ms,
    feedback_ms: state.feedback_ms,
    submit: async (data) => {
      const attempt = await outbox.begun.get(trial.index);
      const answer = { ...data, attempt, trial_index: trial.index, client_uuid: crypto.randomUUID() };
      const { acknowledged } = await outbox.put(answer);
      progress.value = (trial.index + 1) / total;
      if (trial.phase !== "practice") return null;
      const told = await acknowledged;
      return "correct" in told ? told : null;
    },
    on_start: () => {
      outbox.begun.set(trial.index, outbox.begin(trial.index));
      pictures.load(trial.block + 1);
    },
  };
}

/** The screens and trials that are still to come. */
function timeline(context) {
  const { state } = context;
  const left = state.trials.slice(state.next_index);
  const main = state.trials.filter((trial) => trial.phase === "main");
  const practice = state.trials.length - main.length;
  const resumed = state.next_index > 0;
  const nodes = [screen(resumed ? welcomeBack(state, left.length) : instructions(state, practice))];
  for (const [place, trial] of left.entries()) {
    const before = left[place - 1];
    if (before && before.phase !== trial.phase) nodes.push(screen(mainBegins(state, main.length)));
    else if (before && before.block !== trial.block) nodes.push(screen(pauseBetween(trial.index - practice, main.length)));
    nodes.push(trialNode(trial, context));
  }
  return nodes;
}

async function finish(outbox) {
  await outbox.drained();
  for (let wait = 500; ; wait = Math.min(2 * wait, 20_000)) {
    const reply = await post("/api/v1/finish", {}).catch(() => null);
    if (reply?.ok) return location.replace((await reply.json()).next);
    if (reply?.status === 409) return location.reload(); // an answer is missing: the state says which
    await pause(wait);
  }
}

async function main() {
  let state = await fetchState();
  const outbox = await Outbox.open(state.session_id, { onCount: showCount, onLost: () => location.reload() });
  outbox.begun = new Map();
  await outbox.drained();
  state = await fetchState();
  if (state.next_index === null) return finish(outbox);

  const pictures = new Pictures(state.trials);
  const context = { state, outbox, pictures, total: state.trials.length };
  progress.value = state.next_index / state.trials.length;
  await pictures.load(state.trials[state.next_index].block);
  document.addEventListener("task-failed", (event) => fail(event.detail));
  document.addEventListener("visibilitychange", () => outbox.send());

  document.getElementById("loading").remove();
  const jsPsych = jsPsychModule.initJsPsych({ display_element: task, on_finish: () => finish(outbox).catch(fail) });
  await jsPsych.run(timeline(context));
}

main().catch(fail);
