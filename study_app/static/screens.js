// jsPsych plugin: a screen of text with one button, and the texts of the detection study.

const { ParameterType } = jsPsychModule;

export class TextScreen {
  static info = {
    name: "text-screen",
    version: "1.0.0",
    parameters: {
      /** Our own markup; never text from outside. */
      html: { type: ParameterType.HTML_STRING },
      button: { type: ParameterType.STRING },
    },
    data: {},
  };

  constructor(jsPsych) {
    this.jsPsych = jsPsych;
  }

  trial(displayElement, trial) {
    const sheet = document.createElement("div");
    sheet.className = "sheet";
    sheet.innerHTML = trial.html;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "primary", textContent: trial.button });
    button.addEventListener("click", () => this.jsPsych.finishTrial({}), { once: true });
    sheet.append(button);
    displayElement.replaceChildren(sheet);
    const heading = sheet.querySelector("h2");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

function keysInWords(state) {
  const [yes, no] = state.yes_side === "left" ? ["F", "J"] : ["J", "F"];
  const other = state.yes_side === "left" ? "right" : "left";
  return `<p class="by-touch">Tap <strong>yes, changed</strong> on the ${state.yes_side} or
    <strong>no, not changed</strong> on the ${other}, below the picture.</p>
    <p class="by-key">Press <kbd>${yes}</kbd> for <strong>yes, changed</strong> and <kbd>${no}</kbd> for
    <strong>no, not changed</strong>, or use the buttons below the picture.</p>`;
}

function shareInWords(state) {
  return state.signal_share === 0.5 ? "Half" : `${Math.round(100 * state.signal_share)} in 100`;
}

export function instructions(state, practice) {
  const begin = practice
    ? `<p>We start with ${practice} pictures for practice. After each one we tell you whether you were right.</p>`
    : "";
  return {
    html: `<h2>What you will do</h2>
      <p class="lead">You see one picture at a time. Say whether a computer has changed it.</p>
      <p>A change looks like faint grain or speckles laid over the picture. Some changes are plain to see, others
        hardly at all. When you are not sure, go with your first impression.</p>
      <p>Look at the <strong>+</strong> first; the picture takes its place and stays until you answer.</p>
      ${keysInWords(state)}${begin}`,
    button: practice ? "Start practice" : "Start",
  };
}

export function mainBegins(state, trials) {
  return {
    html: `<h2>That was the practice</h2>
      <p class="lead">Now come ${trials} pictures. From here on we do not tell you whether you were right.</p>
      <p><strong>${shareInWords(state)}</strong> of these pictures were changed, in all strengths. The
        faint ones are hard for everybody.</p>
      ${keysInWords(state)}`,
    button: "Go on",
  };
}

export function pauseBetween(done, total) {
  return {
    html: `<h2>Time for a short break</h2>
      <p class="lead">${done} of ${total} pictures are done.</p>
      <p>Rest your eyes for a moment and look into the distance. Go on when you are ready.</p>`,
    button: "Go on",
  };
}

export function welcomeBack(state, left) {
  return {
    html: `<h2>Welcome back</h2>
      <p class="lead">Your answers are saved. ${left} ${left === 1 ? "picture is" : "pictures are"} left.</p>
      ${keysInWords(state)}`,
    button: "Go on",
  };
}

export function failure(message) {
  return `<div class="sheet" role="alert"><h2>Something went wrong</h2><p>${message}</p>
    <p>Your answers so far are kept. Please load this page again.</p></div>`;
}
