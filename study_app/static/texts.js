// The page's texts, in the participant's language. They come with the page as templates: single texts in
// <template id="texts">, screens in <template id="screen-…">. A {name} in them stands for a value.

const PLACEHOLDER = /\{(\w+)\}/g;

/** Reads the single texts: an object from their names. */
export function readTexts() {
  const found = document.getElementById("texts").content.querySelectorAll("[data-text]");
  return Object.fromEntries([...found].map((each) => [each.dataset.text, each.textContent.trim()]));
}

/** Gives the text with its {names} replaced by values; what has no value stays as it is. */
export function fill(text, values) {
  return text.replace(PLACEHOLDER, (whole, name) => values[name] ?? whole);
}

/** Gives a screen's content. An element with data-when="name" is kept only if that value is truthy. */
export function screenContent(name, values) {
  const content = document.getElementById(`screen-${name}`).content.cloneNode(true);
  for (const each of content.querySelectorAll("[data-when]")) if (!values[each.dataset.when]) each.remove();
  const walker = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) walker.currentNode.data = fill(walker.currentNode.data, values);
  return content;
}
