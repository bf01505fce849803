// jsPsych plugin: a screen of text with one button; and which screens come between the trials.

import { screenContent } from "./texts.js";
import { answersInOrder } from "./trial-view.js";

const { ParameterType } = jsPsychModule;

export class TextScreen {
  static info = {
    name: "text-screen",
    version: "2.0.0",
    parameters: {
      /** Gives the content: our own markup, with a button of class "primary". */
      content: { type: ParameterType.FUNCTION },
    },
    data: {},
  };

  constructor(jsPsych) {
    this.jsPsych = jsPsych;
  }

  trial(displayElement, trial) {
    const button = show(displayElement, trial.content());
    button.addEventListener("click", () => this.jsPsych.finishTrial({}), { once: true });
  }
}

/** Shows a screen, with the focus on its heading; gives its button, if it has one. */
export function show(place, content, role = null) {
  const sheet = document.createElement("section");
  sheet.className = "sheet";
  if (role) sheet.setAttribute("role", role);
  sheet.append(content);
  place.replaceChildren(sheet);
  const heading = sheet.querySelector("h2");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  return sheet.querySelector("button.primary");
}

/** Shows a screen that the task does not go on from. */
export function stopAt(place, name, values = {}) {
  return show(place, screenContent(name, values), "alert");
}

/** What all screens may name. */
function valuesOf(state, left) {
  const [first] = answersInOrder(state);
  return {
    [`${first}-left`]: true,
    one: left === 1,
    many: left !== 1,
    left,
    practice: state.trials.filter((trial) => trial.phase === "practice").length,
    main: state.trials.filter((trial) => trial.phase === "main").length,
  };
}

/** The screen with which a page begins. */
export function firstScreen(state, place, warmUp) {
  const [trial, left] = [state.trials[place], state.trials.length - place];
  const values = valuesOf(state, left);
  const begun = state.trials.slice(0, place).some(({ phase }) => phase === "main");
  if (place === 0) return screenContent("instructions", { ...values, practised: values.practice > 0, plain: !values.practice });
  if (warmUp) return screenContent("warm-up", { ...values, warming: trial.phase === "warm-up" });
  if (trial.phase === "main" && !begun) return screenContent("main-begins", values);
  return screenContent("welcome-back", values);
}

/** The screen between a trial and the one before it, if there is one. */
export function screenBefore(state, place) {
  const [before, trial] = [state.trials[place - 1], state.trials[place]];
  const values = valuesOf(state, state.trials.length - place);
  const done = state.trials.slice(0, place).filter(({ phase }) => phase === "main").length;
  if (trial.phase !== "main") return null;
  if (before.phase !== "main") return screenContent(done === 0 ? "main-begins" : "main-goes-on", values);
  return before.block === trial.block ? null : screenContent("break", { ...values, done });
}
