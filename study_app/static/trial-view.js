// What a participant sees of a trial: a question, the stage with the fixation mark, buttons, a line for feedback.

import { choiceRow, element } from "./choices.js";
import { fill } from "./texts.js";

const KEYS = { left: "f", right: "j" };

/** The answers from left to right; in 2afc left is left, else the signal's answer is on the participant's side. */
export function answersInOrder({ task, answers, yes_side }) {
  return task === "2afc" || yes_side === "left" ? answers : [...answers].reverse();
}

/** A text about an answer; another one where the pictures stand one above the other and it matters. */
export function wordFor(texts, kind, answer, stacked = false) {
  const word = texts[`${kind}-${answer}`];
  return stacked ? (texts[`${kind}-${answer}-stacked`] ?? word) : word;
}

function answerRow(trial) {
  const [left, right] = answersInOrder(trial);
  const choice = (value, key) => ({ value, label: element("span", {}, wordFor(trial.texts, "answer", value)), key });
  return choiceRow([choice(left, KEYS.left), choice(right, KEYS.right)], trial.texts["your-answer"], "answers");
}

function confidenceRow(levels, texts) {
  const choices = Array.from({ length: levels }, (_, place) => {
    const level = String(place + 1);
    return { value: level, label: level, key: level };
  });
  const row = choiceRow(choices, texts["how-sure"], "levels");
  const ends = ["least-sure", "most-sure"].map((name) => element("span", {}, texts[name]));
  row.root.append(element("p", { class: "ends", "aria-hidden": "true" }, ...ends));
  row.choices[0].button.setAttribute("aria-label", `1, ${texts["least-sure"]}`);
  row.choices.at(-1).button.setAttribute("aria-label", `${levels}, ${texts["most-sure"]}`);
  return row;
}

/** The note of an instructed trial; it appears over the pictures with them. */
function notesOf({ instructed }) {
  return instructed ? [element("p", { class: "instruction unseen" })] : [];
}

export class TrialView {
  constructor(trial) {
    this.trial = trial;
    this.canvas = element("canvas", { role: "img", "aria-label": trial.texts["picture-label"] });
    this.fixation = element("span", { class: "fixation", "aria-hidden": "true" }, "+");
    this.notes = notesOf(trial);
    this.question = element("p", { class: "question" }, trial.texts.question);
    this.stage = element("div", { class: "stage" }, this.canvas, this.fixation, ...this.notes);
    this.answers = answerRow(trial);
    this.feedback = element("p", { class: "feedback", role: "status" });
    this.root = element("div", { class: "trial" }, this.question, this.stage, this.answers.root, this.feedback);
    Object.assign(this.root.dataset, { task: trial.task, levels: trial.confidence > 7 ? "many" : "few" });
    this.uncovered = false;
    this.canvas.style.visibility = "hidden";
  }

  /** Names the answers by how the pictures stand. */
  name(stacked) {
    for (const { value, button } of this.answers.choices) {
      button.lastChild.textContent = wordFor(this.trial.texts, "answer", value, stacked);
    }
    for (const note of this.notes) {
      const answer = wordFor(this.trial.texts, "answer", this.trial.instructed, stacked);
      note.textContent = fill(this.trial.texts.instructed, { answer });
    }
  }

  uncover() {
    this.uncovered = true;
    this.fixation.remove();
    this.canvas.style.visibility = "visible";
    for (const note of this.notes) note.classList.remove("unseen");
  }

  /** Asks how sure the participant is, in place of the answer. */
  askConfidence() {
    const { confidence, texts } = this.trial;
    const row = confidenceRow(confidence, texts);
    this.question.setAttribute("aria-live", "polite");
    this.question.textContent = texts["how-sure"];
    this.question.classList.add("asks");
    this.answers.root.replaceWith(row.root);
    return row;
  }

  phase(name) {
    this.root.dataset.phase = name;
  }
}
