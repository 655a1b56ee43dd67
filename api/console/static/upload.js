// A file is sent with its progress shown; what is wrong comes to its place, and the file stays chosen.
// Without this script the browser sends the form as any other.
"use strict";

for (const form of document.querySelectorAll("form[data-upload]")) {
  form.addEventListener("submit", (event) => { event.preventDefault(); upload(form); });
}

function upload(form) {
  const file = form.querySelector("input[type=file]");
  const most = Number(file.dataset.mostBytes);
  const chosen = file.files[0];
  if (chosen && chosen.size > most) {
    released(form);
    place(form, new Map([[file.name, megabytes(chosen.size) + " are more than the " + megabytes(most) + " that this service takes."]]));
    return;
  }
  const request = new XMLHttpRequest();
  const [bar, words] = form.querySelector(".sending").children;
  request.upload.addEventListener("progress", (event) => {
    bar.value = event.total ? 100 * event.loaded / event.total : 0;
    words.textContent = event.loaded < event.total ? megabytes(event.loaded) + " of " + megabytes(event.total) + " sent" : "Sent. It is being stored…";
  });
  request.addEventListener("load", () => { released(form); answered(form, request); });
  request.addEventListener("error", () => {
    released(form);
    place(form, new Map([["", "The service can't be reached, or has ended the upload. Nothing is registered."]]));
  });
  request.open("POST", form.action);
  request.setRequestHeader("X-Queuecast-Live", "1");
  place(form, new Map());
  bar.value = 0;
  words.textContent = "";
  form.querySelector(".sending").hidden = false;
  request.send(new FormData(form));
}

// Lets one send the form again.
function released(form) {
  form.querySelector(".sending").hidden = true;
  form.querySelectorAll("button").forEach((each) => { each.disabled = false; });
}

function answered(form, request) {
  if (request.status < 400) return location.assign(request.responseURL);
  const page = new DOMParser().parseFromString(request.responseText, "text/html");
  const said = new Map([...page.querySelectorAll("[data-says] .wrong")].map((each) => [each.parentNode.dataset.says, each.textContent]));
  if (!said.size) said.set("", [...page.querySelectorAll("main h1, main .wrong")].map((each) => each.textContent).join(": ") || "Status " + request.status);
  place(form, said);
}

// Says what is wrong at each field of a form, and nothing at the others.
function place(form, said) {
  for (const slot of form.querySelectorAll("[data-says]")) {
    const name = slot.dataset.says, field = form.elements.namedItem(name), text = said.get(name);
    slot.replaceChildren();
    if (field) field.toggleAttribute("aria-invalid", text !== undefined);
    if (text === undefined) continue;
    const made = document.createElement("span");
    Object.assign(made, { className: "wrong", id: "problem-" + name, role: "alert", textContent: text });
    slot.append(made);
    const folded = slot.closest("details");
    if (folded) folded.open = true;
  }
  const first = form.querySelector("[aria-invalid]");
  if (first) first.focus();
}

function megabytes(bytes) {
  return bytes < 1e5 ? Math.ceil(bytes / 1e3) + " kB" : (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0) + " MB";
}
