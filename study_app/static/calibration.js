// Draws a bank card as large as the slider says: the slider's value is the card's long edge, which stands upright where
// the window is narrow, since a telephone is narrower than a card is long.

const slider = document.getElementById("card_css_px");
const card = document.getElementById("card");
const size = document.getElementById("size");
const room = card.parentElement.clientWidth;
const SHORT_EDGE = 53.98 / Number(card.dataset.millimetres); // ISO/IEC 7810, ID-1
const NARROW = 500;
const upright = room < NARROW;

function draw() {
  const long = Number(slider.value);
  const short = long * SHORT_EDGE;
  card.style.width = `${upright ? short : long}px`;
  card.style.height = `${upright ? long : short}px`;
  size.textContent = slider.dataset.text.replace("{size}", slider.value);
  slider.setAttribute("aria-valuetext", size.textContent);
}

card.classList.toggle("upright", upright);
slider.max = Math.min(800, Math.floor(upright ? room / SHORT_EDGE : room));
slider.value = upright ? Math.min(490, Number(slider.max)) : 324;
slider.addEventListener("input", draw);
draw();
