// Measures the window, and sees which input somebody has by letting them use it. What is enough is decided on the server.

const form = document.getElementById("device");
const size = document.getElementById("size");
const wrong = document.getElementById("wrong");
const minimum = Number(form.dataset.minimum);
const wanted = form.dataset.input;
let pointer = "";

const fits = () => Math.min(innerWidth, innerHeight) >= minimum;

function measure() {
  Object.entries({ width: innerWidth, height: innerHeight, device_pixel_ratio: devicePixelRatio }).forEach(
    ([name, value]) => (form.elements[name].value = value),
  );
  if (!size) return;
  const text = fits() ? size.dataset.fits : size.dataset.small;
  const filled = text.replace("{width}", innerWidth).replace("{height}", innerHeight);
  if (size.textContent !== filled) size.textContent = filled;
  size.classList.toggle("fits", fits());
}

function usualInput() {
  return matchMedia("(any-pointer: coarse)").matches && !matchMedia("(any-hover: hover)").matches ? "touch" : "keyboard";
}

function send(input) {
  form.elements.input.value = input;
  measure();
  if (fits()) form.submit();
  else size.focus();
}

addEventListener("resize", measure);
addEventListener("pointerdown", (event) => (pointer = event.pointerType), true);
addEventListener("keydown", (event) => {
  pointer = "";
  const elsewhere = event.target.closest?.("a, #cannot");
  if (wanted !== "keyboard" || event.code !== "Space" || event.repeat || elsewhere) return;
  event.preventDefault();
  send("keyboard");
});
form.addEventListener("submit", (event) => {
  if (event.submitter?.id === "cannot") return;
  event.preventDefault();
  if (wanted === "any") send(usualInput());
  else if (wanted === "touch" && pointer === "touch") send("touch");
  else wrong.hidden = false;
});
if (size) size.tabIndex = -1;
measure();
