// Keeps the part of a page that changes up to date: asks for it again every few seconds. Without this script the page
// shows the same when it is loaded again.
const live = document.getElementById("live");
const freshness = document.getElementById("freshness");
const wanted = document.getElementById("refresh");
const trouble = document.getElementById("trouble");

function say(text) {
  if (trouble && trouble.textContent !== text) trouble.textContent = text;
}

function inUse() {
  return live.contains(document.activeElement) || (window.getSelection().type === "Range" && live.contains(window.getSelection().anchorNode));
}

function replace(html) {
  const scrolled = [...live.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  live.innerHTML = html; // from our own server, made by the same template as the page
  live.querySelectorAll(".scroll").forEach((box, index) => { box.scrollLeft = scrolled[index] ?? 0; });
}

async function refresh() {
  if (document.hidden || inUse() || (wanted && !wanted.checked)) return true;
  try {
    const reply = await fetch(live.dataset.url, {headers: {"X-Requested-With": "fetch"}});
    if (reply.status === 401) {
      say("You are signed out; load the page again.");
      return false;
    }
    if (!reply.ok) throw new Error(reply.statusText);
    replace(await reply.text());
    say("");
  } catch {
    say("The server does not answer; trying again.");
  }
  return true;
}

async function goOn() {
  if (await refresh()) setTimeout(goOn, Number(live.dataset.every));
}

if (freshness) freshness.hidden = false;
setTimeout(goOn, Number(live.dataset.every));
