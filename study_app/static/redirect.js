// Leads to the platform's page after some seconds, unless somebody wants to stay.

const onwards = document.getElementById("onwards");
const countdown = document.getElementById("countdown");
const stay = document.getElementById("stay");

const timer = setTimeout(() => location.assign(onwards.querySelector("a").href), 1000 * Number(onwards.dataset.seconds));
countdown.textContent = countdown.dataset.text;
stay.hidden = false;
stay.addEventListener("click", () => {
  clearTimeout(timer);
  countdown.textContent = countdown.dataset.stopped;
  stay.hidden = true;
});
