// Fetching pictures and masks, until they are there, and the list of one's own past pictures.

import { Pauses, Refused } from "./server.js";
import { fill } from "./texts.js";

const GONE = [401, 403, 404, 410];

/** Gives a picture as it is stored, with no colour changed. */
export async function fetchPicture(url) {
  const pauses = new Pauses();
  for (;;) {
    const reply = await fetch(url).catch(() => null);
    if (reply?.ok) {
      const blob = await reply.blob();
      return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    }
    if (GONE.includes(reply?.status)) throw await Refused.from(reply);
    await pauses.wait();
  }
}

/** Gives the pixels of a mask file that are white, one byte each, for showing only. */
export async function readMask(url, { width, height }) {
  const bitmap = await fetchPicture(url);
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, at) => (data[4 * at] > 127 ? 1 : 0));
}

/** Fills the list of past pictures; a button in it closes the dialog with the picture's id. */
export function showPictures(list, pictures, texts) {
  const items = pictures.map(({ id, url, outcome }, place) => {
    const image = Object.assign(document.createElement("img"), { src: url, alt: "", loading: "lazy" });
    const text = Object.assign(document.createElement("span"), { textContent: texts[`outcome-${outcome}`] ?? "" });
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.setAttribute("aria-label", `${fill(texts["past-picture"], { place: place + 1 })}: ${text.textContent}`);
    button.append(image, text);
    button.addEventListener("click", () => list.closest("dialog").close(id));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  list.replaceChildren(...items);
  list.nextElementSibling.hidden = items.length > 0;
}
