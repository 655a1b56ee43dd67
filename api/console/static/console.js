// Keeps what is marked `data-live` as it is on the server, without touching what somebody types, opens or focuses.
// Pages work without this script.
"use strict";

const EVERY_MS = 2000;
const GIVE_UP_MS = 10000;
const LIVE = "[data-live]";
const stale = document.getElementById("stale");
let shownAt = Date.now();
let timer = 0;

// Makes `old` what `made` is, keeping every node that is there already, and with it focus and selection.
function patch(old, made) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== made.data) old.data = made.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!made.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of made.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  patchChildren(old, made);
}

function patchChildren(old, made) {
  let place = old.firstChild;
  for (const child of [...made.childNodes]) {
    const same = child.id ? [...old.children].find((each) => each.id === child.id) : place;
    if (same && same.nodeName === child.nodeName && (same.id || "") === (child.id || "")) {
      // What stands before it and is gone goes first, so that it need not be moved itself.
      while (place !== same && place && !(place.id && made.querySelector("#" + CSS.escape(place.id)))) place = dropped(place);
      if (place !== same) old.insertBefore(same, place);
      patch(same, child);
      place = same.nextSibling;
    } else {
      old.insertBefore(document.importNode(child, true), place);
    }
  }
  while (place) place = dropped(place);
}

function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

async function refresh() {
  const regions = [...document.querySelectorAll(LIVE)];
  const addresses = new Set(regions.map((each) => each.dataset.live || location.href));
  for (const address of addresses) {
    const answer = await fetch(address, { headers: { "X-Queuecast-Live": "1" }, signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (answer.status === 401) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(refusal(answer.status, page));
    for (const region of regions) {
      const made = document.getElementById(region.id) === region && page.getElementById(region.id);
      if (made && (region.dataset.live || location.href) === address) patch(region, made);
    }
  }
  shownAt = Date.now();
  stale.hidden = true;
}

function refusal(status, page) {
  if (status === 404) return "This isn't there any more";
  const title = page.querySelector("main h1");
  return (title ? title.textContent : "The service answers") + " (" + status + ")";
}

function say(error) {
  const age = Math.round((Date.now() - shownAt) / 1000);
  const why = error.name === "TypeError" || error.name === "TimeoutError" ? "The service can't be reached" : error.message;
  stale.textContent = why + ": what you see is " + age + " s old.";
  stale.hidden = false;
}

async function look() {
  clearTimeout(timer);
  if (document.hidden || !document.querySelector(LIVE)) return;
  try {
    await refresh();
  } catch (error) {
    say(error);
  }
  clearTimeout(timer);
  timer = setTimeout(look, EVERY_MS);
}

document.addEventListener("visibilitychange", look);
timer = setTimeout(look, EVERY_MS);

// What was done is said once, and not again when the page is reloaded.
const said = new URL(location.href);
if (said.searchParams.has("done")) {
  said.searchParams.delete("done");
  history.replaceState(null, "", said);
}
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => form.querySelectorAll("button").forEach((each) => { each.disabled = true; }));
}
// Back from another page: what was disabled is of use again.
window.addEventListener("pageshow", () => document.querySelectorAll("button").forEach((each) => { each.disabled = false; }));

// The text of a new key is shown once: it is copied by a button.
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  const told = document.querySelector("[data-copied=" + button.dataset.copy + "]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      told.textContent = "Copied.";
    } catch { // over plain HTTP, or not allowed
      getSelection().selectAllChildren(source);
      told.textContent = "Selected: copy it with your keyboard.";
    }
  });
}
