// Draws a bank card as wide as the slider says.

const slider = document.getElementById("card_css_px");
const card = document.getElementById("card");
const width = document.getElementById("width");
const HEIGHT_MM = 53.98; // ISO/IEC 7810, ID-1

function draw() {
  const text = slider.dataset.text.replace("{width}", slider.value);
  card.style.width = `${slider.value}px`;
  card.style.height = `${(slider.value * HEIGHT_MM) / Number(card.dataset.millimetres)}px`;
  width.textContent = text;
  slider.setAttribute("aria-valuetext", text);
}

slider.max = Math.max(400, Math.min(800, card.parentElement.clientWidth));
slider.addEventListener("input", draw);
draw();
