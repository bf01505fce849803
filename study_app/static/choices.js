// A row of buttons of which one is chosen, by its key, a tap, a click, or Enter on it; all of equal standing.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function choiceButton({ value, label, key }) {
  const shown = key.toUpperCase();
  const hint = element("kbd", { "aria-hidden": "true" }, shown);
  return element("button", { type: "button", "data-value": value, "aria-keyshortcuts": shown }, hint, label);
}

/** Builds the row. `choices` are {value, label, key}, from left to right; `name` is what a screen reader calls it. */
export function choiceRow(choices, name, className) {
  const buttons = choices.map(choiceButton);
  const root = element("div", { class: className, role: "group", "aria-label": name }, ...buttons);
  root.style.setProperty("--choices", choices.length);
  return { root, choices: choices.map((choice, place) => ({ ...choice, button: buttons[place] })) };
}

/** Puts the focus on the button of a key, where the keyboard left it in the row before. */
export function focusOn(row, key) {
  row.choices.find((choice) => choice.key === key)?.button.focus({ preventScroll: true });
}

/** Waits for a choice made from the time `since` on; gives its value, the event's time, and what kind of input it was. */
export function firstChoice(row, since) {
  return new Promise((resolve) => {
    const controller = new AbortController();
    const listen = (target, kind, handler) => target.addEventListener(kind, handler, { signal: controller.signal });
    const give = (choice, time, inputType, focused = null) => {
      if (time < since) return;
      controller.abort();
      for (const { button } of row.choices) button.disabled = true;
      choice.button.dataset.chosen = "";
      resolve({ value: choice.value, time, input_type: inputType, focused });
    };
    listen(document, "keydown", (event) => byKey(row, event, give));
    for (const choice of row.choices) byButton(choice, listen, give);
  });
}

function byKey(row, event, give) {
  const choice = row.choices.find(({ key }) => key === event.key.toLowerCase());
  if (!choice || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  give(choice, event.timeStamp, "keyboard");
}

/** A click takes time and kind of the press before it; one without a press comes from Enter, or an assistive device. */
function byButton(choice, listen, give) {
  let press = null;
  listen(choice.button, "pointerdown", (event) => {
    press = { time: event.timeStamp, kind: event.pointerType || "mouse" };
  });
  listen(choice.button, "click", (event) => {
    if (event.detail > 0 && press !== null) give(choice, press.time, press.kind);
    else give(choice, event.timeStamp, "keyboard", choice.key);
  });
}
