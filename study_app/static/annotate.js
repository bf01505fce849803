// The page on which people paint: takes a picture and what was painted on it before from the server, and puts together
// what shows it, what draws on it and what saves it.

import { Drawing } from "./annotate-drawing.js";
import { Hints } from "./annotate-hints.js";
import { Keys } from "./annotate-keys.js";
import { Mask } from "./annotate-mask.js";
import { Compare, Panels, ask, brushSizes } from "./annotate-panels.js";
import { fetchPicture, readMask, showPictures } from "./annotate-pictures.js";
import { Pointers } from "./annotate-pointer.js";
import { Saving } from "./annotate-saving.js";
import { View } from "./annotate-view.js";
import { insistOnGetting, insistOnPosting, newUuid } from "./server.js";
import { becomeTheOnlyTab } from "./tabs.js";
import { readTexts } from "./texts.js";

const find = (id) => document.getElementById(id);
const page = find("work").dataset; // the addresses: api, finish, begin
const texts = readTexts();
const surface = find("surface");
const ZOOM_STEP = 1.5;
const OPACITY_STEP = 0.1;
const SHARE = 10; // the brush is at first this part of the longer side

const settings = { tool: "brush", mode: "add", size: 1, sizes: [1], opacity: 0.45, pressure: true, singleKeys: true };
Object.assign(settings, { space: false, busy: true }); // busy: while a picture is fetched or handed in
const panels = new Panels(texts);
const view = new View({ picture: find("picture"), overlay: find("overlay") }, onMoved);
const hints = new Hints(find("hints"), view);
const drawing = new Drawing(view, {
  clock: () => Math.round(clockBase + performance.now()),
  onDone: (operation) => {
    uncover();
    saving.add(operation);
    panels.say(texts[`said-${operation.tool}`]);
  },
  onLive: (operation) => {
    uncover();
    saving.live(operation);
  },
  onChange,
});
const compare = new Compare(find("compare"), (bare) => {
  view.bare = bare;
  view.repaint();
});
let saving, state, assignment;
let clockBase = 0;
let openedAt = 0;

/** Whoever paints sees the paint. */
function uncover() {
  if (compare.on) compare.set(false);
}

function onMoved() {
  panels.showZoom(view);
  hints.show(drawing);
}

function onChange() {
  panels.showPossible(drawing);
  hints.show(drawing);
}

function fail(error) {
  console.warn(error);
  find("failure").hidden = false;
  find("failure").querySelector("a").focus();
}

/** The server takes no more of this picture from here: the page is loaded again, with what the server holds. */
function onRefused(refused) {
  if (refused.status === 401) location.replace(page.begin);
  else if (refused.next) location.replace(refused.next);
  else if ([404, 409].includes(refused.status)) location.replace(location.pathname);
  else fail(refused);
}

const stop = (error) => (error.status ? onRefused(error) : fail(error));

// One picture after the other

async function open(next) {
  settings.busy = true;
  assignment = next;
  const { picture, operations } = assignment;
  const bitmap = await fetchPicture(picture.url);
  const mask = new Mask(picture.width, picture.height);
  clockBase = 1000 * assignment.seconds - performance.now();
  openedAt = performance.now();
  const cutOff = await saving.begin(assignment);
  drawing.open(mask);
  view.open(bitmap, mask);
  drawing.replay(operations.map(({ operation }) => operation));
  if (cutOff) drawing.apply(cutOff);
  showAll();
  settings.busy = false;
  if (cutOff) panels.flash(texts["stroke-kept"]);
}

function showAll() {
  const longer = Math.max(assignment.picture.width, assignment.picture.height);
  settings.sizes = brushSizes(state.task.brush_sizes, longer);
  setSize(settings.sizes.findLastIndex((size) => size <= longer / SHARE));
  panels.showProgress(state, assignment);
  panels.showNote(assignment.note);
  panels.showTime(secondsLeft());
  compare.set(false);
  onChange();
  surface.setAttribute("aria-busy", "false");
  surface.focus({ preventScroll: true });
  document.body.dataset.picture = assignment.id;
  panels.say(operationsText());
}

function operationsText() {
  return assignment.operations.length > 0 ? texts["said-continued"] : texts["said-new"];
}

async function goOn() {
  surface.setAttribute("aria-busy", "true");
  history.replaceState(null, "", location.pathname);
  state = await insistOnGetting(`${page.api}/state`);
  if (!state.assignment) return location.assign(page.finish);
  await open(state.assignment);
}

async function reopen(id) {
  await saving.drained();
  const { assignment: chosen } = await insistOnGetting(`${page.api}/assignments/${id}`);
  history.replaceState(null, "", `#${id}`);
  await open(chosen);
  panels.say(texts["said-continued"]);
}

// Handing in

const secondsLeft = () => state.task.minimum_seconds - assignment.seconds - (performance.now() - openedAt) / 1000;

async function handIn(outcome, skipReason = null) {
  if (settings.busy) return;
  settings.busy = true;
  surface.setAttribute("aria-busy", "true");
  drawing.endStroke();
  panels.unflash();
  await saving.drained();
  saving.time.note();
  const body = { assignment: assignment.id, client_uuid: newUuid(), outcome, skip_reason: skipReason };
  try {
    const reply = await insistOnPosting(`${page.api}/submissions`, { ...body, strokes: saving.next, active_ms: saving.time.ms });
    if (reply.feedback) await showFeedback(reply.feedback);
    else panels.flash(texts["handed-in"]);
    await goOn();
  } catch (error) {
    if (error.code !== "too soon") throw error;
    settings.busy = false;
    surface.setAttribute("aria-busy", "false");
    panels.flash(texts["too-soon"]);
  }
}

/** Shows beside what was painted what was expected, until somebody goes on. */
async function showFeedback({ iou, message, mask_url: maskUrl }) {
  surface.setAttribute("aria-busy", "false");
  view.expected = maskUrl ? await readMask(maskUrl, drawing.mask) : null;
  view.repaint();
  const feedback = find("feedback");
  feedback.hidden = false;
  find("feedback-text").textContent = message;
  find("feedback-share").textContent = iou === null || iou === undefined ? "" : `${Math.round(100 * iou)} %`;
  feedback.querySelector("button").focus();
  await new Promise((resolve) => feedback.querySelector("button").addEventListener("click", resolve, { once: true }));
  feedback.hidden = true;
}

function submit() {
  if (secondsLeft() > 0) return panels.flash(texts["too-soon"]);
  if (drawing.shape) return panels.flash(texts["unfinished-shape"]);
  if (drawing.mask.painted === 0) return panels.flash(texts["nothing-painted"]);
  return handIn("regions");
}

async function none() {
  if (secondsLeft() > 0) return panels.flash(texts["too-soon"]);
  if (drawing.mask.painted > 0 && (await ask("none-dialog")) !== "yes") return null;
  drawing.act("clear");
  return handIn("none");
}

async function skip() {
  const reason = await ask("skip-dialog");
  return reason && handIn("skipped", reason);
}

// Tools

function setTool(tool) {
  if (drawing.stroke) drawing.endStroke();
  if (drawing.shape && drawing.shape.tool !== tool) drawing.cancelShape();
  settings.tool = tool;
  showTool();
  panels.say(texts[`tool-${tool}`]);
}

function setSize(place) {
  settings.size = settings.sizes[Math.max(0, Math.min(settings.sizes.length - 1, place))];
  showTool();
}

function setOpacity(opacity) {
  settings.opacity = view.opacity = Math.max(0.1, Math.min(1, opacity));
  view.repaint();
  showTool();
}

function showTool() {
  hints.radius = settings.tool === "brush" || settings.tool === "erase" ? settings.size / 2 : 0;
  hints.show(drawing);
  panels.showTool(settings);
}

function act(tool) {
  if (drawing.stroke) drawing.endStroke();
  if (drawing.shape && tool === "undo") return drawing.dropCorner();
  if (drawing.shape) drawing.cancelShape();
  return panels.say(texts[drawing.act(tool) ? `said-${tool}` : `said-no-${tool}`]);
}

async function numbers() {
  const form = find("numbers-form");
  const { width, height } = drawing.mask;
  for (const [name, most] of [["left", width], ["right", width], ["top", height], ["bottom", height]]) form.elements[name].max = most;
  const answer = await ask("numbers-dialog");
  if (!answer) return;
  const value = (name) => Number(form.elements[name].value);
  if (value("right") <= value("left") || value("bottom") <= value("top")) return panels.flash(texts["said-too-small"]);
  drawing.box(answer, ...["left", "top", "right", "bottom"].map(value));
}

function changeMode() {
  settings.mode = settings.mode === "add" ? "remove" : "add";
  showTool();
  panels.say(texts[`mode-${settings.mode}`]);
}

async function pictures() {
  const { pictures: past } = await insistOnGetting(`${page.api}/done`);
  showPictures(find("past"), past, texts);
  const id = await ask("pictures-dialog");
  if (id) await reopen(id);
}

const place = () => settings.sizes.indexOf(settings.size);
const COMMANDS = {
  ...Object.fromEntries(["brush", "erase", "polygon", "box", "pan"].map((tool) => [tool, () => setTool(tool)])),
  ...Object.fromEntries(["undo", "redo", "clear"].map((tool) => [tool, () => act(tool)])),
  smaller: () => setSize(place() - 1),
  larger: () => setSize(place() + 1),
  fainter: () => setOpacity(settings.opacity - OPACITY_STEP),
  stronger: () => setOpacity(settings.opacity + OPACITY_STEP),
  "zoom-in": () => view.zoomCentred(ZOOM_STEP),
  "zoom-out": () => view.zoomCentred(1 / ZOOM_STEP),
  fit: () => view.fit(),
  mode: changeMode,
  "close-shape": () => drawing.endShape(),
  "cancel-shape": () => drawing.cancelShape(),
  numbers,
  none,
  skip,
  submit,
  pictures,
  shortcuts: () => ask("shortcuts-dialog"),
};

async function run(command) {
  const offered = find("work").querySelector(`[data-command=${command}]`);
  if (settings.busy || (offered?.hidden ?? false)) return;
  saving.time.note();
  await COMMANDS[command]();
}

function listen() {
  const onUse = () => saving.time.note();
  new Pointers(surface, { view, drawing, hints, settings, onUse });
  new Keys(surface, { view, drawing, hints, settings, compare, texts, run: (command) => run(command).catch(stop), say: (...said) => panels.say(...said) });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-command]");
    if (button) run(button.dataset.command).catch(stop);
  });
  find("size").addEventListener("input", (event) => setSize(Number(event.target.value)));
  find("opacity").addEventListener("input", (event) => setOpacity(Number(event.target.value) / 100));
  find("single-keys").addEventListener("change", (event) => (settings.singleKeys = event.target.checked));
  find("pressure").addEventListener("change", (event) => (settings.pressure = event.target.checked));
  for (const name of ["online", "offline"]) window.addEventListener(name, () => panels.showCount(panels.waiting ?? 0));
  setInterval(() => !settings.busy && panels.showTime(secondsLeft()), 250);
}

function offerTools() {
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.hidden = button.dataset.tool !== "pan" && !state.task.tools.includes(button.dataset.tool);
  }
  setTool(state.task.tools.find((tool) => COMMANDS[tool]) ?? "brush");
}

async function main() {
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  await becomeTheOnlyTab({
    name: "percepsilon-annotate",
    onOther: (takeOver) => {
      find("tabs-dialog").showModal();
      find("tabs-dialog").querySelector("button").addEventListener("click", takeOver, { once: true });
    },
    onTaken: () => location.reload(),
  });
  find("tabs-dialog").close();
  state = await insistOnGetting(`${page.api}/state`);
  saving = await Saving.open(state.annotator, page.api, { onCount: (waiting) => panels.showCount(waiting), onRefused });
  await saving.drained();
  listen();
  offerTools();
  if (location.hash.length > 1) await reopen(location.hash.slice(1));
  else await goOn();
}

main().catch(stop);
