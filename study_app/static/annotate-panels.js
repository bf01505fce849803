// What stands around the picture: buttons, sliders, dialogs, and what is said of them. Commands are named by data-command.

import { fill } from "./texts.js";

const SHORT_MS = 300; // a press of this time or less switches; a longer one holds
const STEPS = 28; // of the brush's slider, each larger than the one before by the same ratio

const find = (id) => document.getElementById(id);

/** The sizes of the brush in picture pixels: those of the task, else from 1 to half of the longer side. */
export function brushSizes(wanted, longer) {
  const given = (wanted ?? []).filter((size) => size >= 0.5 && size <= longer);
  if (given.length > 1) return [...new Set(given)].sort((one, other) => one - other);
  const most = Math.max(4, longer / 2);
  const sizes = Array.from({ length: STEPS + 1 }, (_, step) => Math.round(most ** (step / STEPS)));
  return [...new Set(sizes)];
}

/** Shows the bare picture while held, or, after a short press, until the next one. */
export class Compare {
  constructor(button, onChange) {
    Object.assign(this, { button, onChange, on: false, since: null });
    button.addEventListener("pointerdown", () => this.press());
    for (const name of ["pointerup", "pointercancel"]) button.addEventListener(name, () => this.release());
    button.addEventListener("click", (event) => event.detail === 0 && this.set(!this.on)); // by keyboard or screen reader
  }

  press() {
    this.since = this.on ? null : performance.now();
    this.set(!this.on);
  }

  release() {
    if (this.since !== null && performance.now() - this.since > SHORT_MS) this.set(false);
    this.since = null;
  }

  set(on) {
    this.on = on;
    this.button.setAttribute("aria-pressed", String(on));
    this.onChange(on);
  }
}

let cancel = () => {}; // the question before this one

/** Opens a dialog; gives what it was closed with, "" if it was cancelled. */
export function ask(id) {
  const dialog = find(id);
  cancel();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const closed = () => {
      if (dialog.open) return; // browsers tell of the closing later: it may be that of the question before
      dialog.removeEventListener("close", closed);
      resolve(dialog.returnValue);
    };
    cancel = () => {
      dialog.removeEventListener("close", closed);
      resolve("");
    };
    dialog.addEventListener("close", closed);
  });
}

export class Panels {
  constructor(texts) {
    Object.assign(this, { texts, timer: 0 });
    for (const close of document.querySelectorAll("dialog [data-close]")) {
      close.addEventListener("click", () => close.closest("dialog").close(""));
    }
    find("tabs-dialog").addEventListener("cancel", (event) => event.preventDefault());
    for (const dialog of document.querySelectorAll("dialog:not(#tabs-dialog)")) {
      dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
    }
  }

  /** Tells people who listen what was done; the same text twice is said twice. */
  say(text, values = {}) {
    const live = find("said");
    const filled = fill(text, values);
    live.textContent = live.textContent === filled ? `${filled}\u00a0` : filled;
  }

  /** Shows a note over the picture for some seconds. */
  flash(text, values = {}) {
    const note = find("flash");
    note.textContent = fill(text, values);
    note.hidden = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (note.hidden = true), 5000);
  }

  unflash() {
    find("flash").hidden = true;
  }

  showCount(waiting) {
    const badge = find("saving");
    const state = !navigator.onLine ? "offline" : waiting === 0 ? "saved" : "saving";
    const amount = waiting === 0 ? "none" : waiting === 1 ? "one" : "many";
    badge.textContent = fill(this.texts[`${state}-${amount}`], { waiting });
    badge.dataset.state = state;
    this.waiting = waiting;
  }

  showProgress({ done, total }, { practice, submitted }) {
    find("progress").max = Math.max(1, total);
    find("progress").value = done;
    const name = practice ? "practice" : submitted || done >= total ? "again" : "place";
    find("place").textContent = fill(this.texts[name], { place: done + 1, total });
  }

  showNote(note) {
    find("note").hidden = !note;
    find("note-text").textContent = note ?? "";
  }

  showTool({ tool, mode, size, sizes, opacity }) {
    for (const button of document.querySelectorAll(".tool[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.command === tool));
    }
    document.body.dataset.tool = tool;
    find("mode").setAttribute("aria-pressed", String(mode === "remove"));
    const slider = find("size");
    Object.assign(slider, { max: sizes.length - 1, value: sizes.indexOf(size) });
    slider.setAttribute("aria-valuetext", fill(this.texts["size-value"], { size }));
    find("size-value").textContent = fill(this.texts["size-value"], { size });
    find("opacity").value = Math.round(100 * opacity);
  }

  showPossible({ mask, shape }) {
    this.enable("undo", mask.canUndo || shape !== null);
    this.enable("redo", mask.canRedo && shape === null);
    this.enable("clear", mask.painted > 0);
    find("shape").hidden = shape?.tool !== "polygon";
    this.enable("close-shape", (shape?.points.length ?? 0) > 2);
  }

  enable(command, possible) {
    for (const button of document.querySelectorAll(`[data-command=${command}]`)) {
      button.setAttribute("aria-disabled", String(!possible));
    }
  }

  showZoom(view) {
    find("zoom").textContent = `${Math.round((100 * view.scale) / view.ratio)} %`;
  }

  /** Says below the button how long one should still look, if at all. */
  showTime(seconds) {
    const left = Math.ceil(seconds);
    find("time").textContent = left > 0 ? fill(this.texts[left === 1 ? "wait-one" : "wait-many"], { seconds: left }) : "";
    const button = document.querySelector("[data-command=submit]");
    if (left > 0) button.dataset.wait = ` (${left})`;
    else delete button.dataset.wait;
    this.enable("submit", left <= 0);
  }
}
