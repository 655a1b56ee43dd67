// Shows the description of the API, sends what one types, and shows the answer.
"use strict";
const WIDTH = 80;
// Relative, so that it holds behind a proxy that cuts a prefix off.
const ROOT = new URL(document.getElementById("operations").dataset.root, location.href);
let description;
// For this tab alone, and gone with it.
let key = sessionStorage.getItem("queuecast-key") || "";

function make(tag, options, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// Text of the description, in which `words` are code.
function prose(tag, options, text) {
  return make(tag, options, ...text.split("`").map((part, index) => index % 2 ? make("code", { text: part }) : part));
}

function resolved(schema) {
  let found = schema || {};
  while (found.$ref) found = description.components.schemas[found.$ref.split("/").pop()] || {};
  return found;
}

function typeOf(schema, depth = 0) {
  const found = resolved(schema);
  const alternatives = found.anyOf || (found.properties ? null : found.oneOf);
  if (found.enum) {
    const shown = found.enum.slice(0, 20).map((value) => JSON.stringify(value));
    return [...shown, ...(found.enum.length > 20 ? [`… ${found.enum.length} in all`] : [])].join(" | ");
  }
  if ("const" in found) return JSON.stringify(found.const);
  if (alternatives) return [...new Set(alternatives.map((each) => typeOf(each, depth)))].join(" or ");
  if (found.type === "array" && depth < 4) {
    const least = found.minItems, most = found.maxItems;
    const size = least === undefined && most === undefined ? "" : least === most ? " of " + least
      : most === undefined ? ", at least " + least : `, ${least || 0} to ${most}`;
    return `list[${found.items ? typeOf(found.items, depth + 1) : "anything"}]${size}`;
  }
  const type = Array.isArray(found.type) ? found.type.join(" or ") : found.type || "anything";
  const limits = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["exclusiveMaximum", "<"]]
    .filter(([name]) => name in found).map(([name, sign]) => `${sign} ${found[name]}`);
  return [type, ...limits].join(" ");
}

function fields(schema) {
  const found = resolved(schema);
  const names = Object.entries(found.properties || {});
  if (!names.length) return null;
  const list = make("ul", { class: "members" });
  const isRequired = ([name]) => (found.required || []).includes(name);
  for (const [name, each] of [...names.filter(isRequired), ...names.filter((one) => !isRequired(one))]) {
    const required = isRequired([name]);
    const item = make("li", {}, make("code", { text: name }), " ",
      make("span", { class: "type", text: typeOf(each) + (required ? ", required" : "") }));
    if (each.default !== undefined && each.default !== null) item.append(make("span", { class: "type", text: `, default ${JSON.stringify(each.default)}` }));
    if (each.description) item.append(prose("div", { class: "hint" }, each.description));
    list.append(item);
  }
  return list;
}

function withKey(headers) { return key ? { ...headers, Authorization: `Bearer ${key}` } : headers; }

function useKey(text) {
  key = text.trim();
  if (key) sessionStorage.setItem("queuecast-key", key);
  else sessionStorage.removeItem("queuecast-key");
  location.reload();
}

function askForKey(why) {
  const input = make("input", { type: "password", autocomplete: "off", placeholder: "qc_…", "aria-label": "API key" });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") useKey(input.value); });
  const button = make("button", { type: "button", class: "send", text: "Use this key", onclick: () => useKey(input.value) });
  const place = document.getElementById("key");
  document.getElementById("about").textContent = "This API asks for a key.";
  place.append(make("section", {}, make("h2", { text: "Key" }), prose("p", {}, why), input, make("div", { class: "buttons" }, button)));
  place.hidden = false;
}

function form(method, path, operation) {
  const inputs = [];
  const node = make("div", {});
  for (const parameter of operation.parameters || []) {
    const input = make("input", { autocomplete: "off", autocapitalize: "off", spellcheck: "false", placeholder: (parameter.schema || {}).example || "" });
    const hint = parameter.in === "path" ? "" : ` — ${parameter.in === "header" ? "header" : typeOf(parameter.schema)}`;
    const about = parameter.description || (parameter.schema || {}).description;
    node.append(make("label", {}, make("code", { text: parameter.name }), make("span", { class: "hint", text: hint }), input,
      about ? prose("div", { class: "hint" }, about) : null));
    inputs.push([parameter, input]);
  }
  const content = (operation.requestBody || {}).content || {};
  const json = content["application/json"], multipart = content["multipart/form-data"];
  let text = null, file = null;
  if (json || multipart) {
    const example = multipart ? (multipart.example || {}).metadata : json.example;
    text = make("textarea", { spellcheck: "false", autocapitalize: "off" });
    text.value = example === undefined ? "{}" : pretty(example);
    text.rows = Math.min(14, text.value.split("\n").length + 1);
    if (multipart) {
      file = make("input", { type: "file" });
      node.append(make("label", {}, make("code", { text: "artifact" }), make("span", { class: "hint", text: " — the file" }), file));
    }
    node.append(make("label", {}, multipart ? make("code", { text: "metadata" }) : "Body", text));
  }
  function request() {
    let url = path.slice(1);
    const query = new URLSearchParams(), headers = {};
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    if (query.size) url += "?" + query;
    let body;
    if (multipart) {
      body = new FormData();
      if (file.files[0]) body.set("artifact", file.files[0]);
      body.set("metadata", text.value);
    } else if (json) {
      headers["Content-Type"] = "application/json";
      body = text.value;
    }
    return { url: new URL(url, ROOT), method, headers, body, multipart: Boolean(multipart) };
  }
  return [node, request];
}

function flat(value) {
  return Array.isArray(value) ? `[${value.map(flat).join(", ")}]` : String(JSON.stringify(value));
}

// An input vector is read as a row: short lists stay on one line, longer ones of plain values fill their lines.
function pretty(value, indent = "") {
  const isList = Array.isArray(value), line = isList || value === null || typeof value !== "object" ? flat(value) : "";
  if (line && (!isList || line.length < WIDTH)) return line;
  const deeper = indent + "  ";
  const parts = isList ? (value.some((each) => each && typeof each === "object") ? value.map((each) => pretty(each, deeper)) : rows(value.map(flat)))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${pretty(each, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return parts.length ? `${open}\n${deeper}${parts.join(",\n" + deeper)}\n${indent}${close}` : open + close;
}

function rows(words) {
  const lines = [];
  for (const word of words) {
    const last = lines.length - 1;
    if (last >= 0 && lines[last].length + word.length < WIDTH) lines[last] += ", " + word;
    else lines.push(word);
  }
  return lines;
}

function quoted(text) { return "'" + text.replaceAll("'", "'\\''") + "'"; }

function curl(request) {
  const parts = ["curl -s", request.method === "GET" ? null : `-X ${request.method}`, quoted(request.url.href)];
  if (key) parts.push('-H "Authorization: Bearer $QUEUECAST_API_KEY"');
  for (const [name, value] of Object.entries(request.headers)) parts.push("-H " + quoted(`${name}: ${value}`));
  if (request.multipart) parts.push("-F artifact=@FILE", "-F " + quoted("metadata=" + oneLine(request.body.get("metadata"))));
  else if (request.body !== undefined) parts.push("-d " + quoted(oneLine(request.body)));
  return parts.filter(Boolean).join(" ");
}

function oneLine(text) { try { return JSON.stringify(JSON.parse(text)); } catch { return text; } }

async function send(request, answer, button) {
  button.disabled = true;
  answer.replaceChildren(make("p", { class: "hint", text: "Waiting for the answer…" }));
  const began = performance.now();
  try {
    const response = await fetch(request.url, { method: request.method, headers: withKey(request.headers), body: request.body });
    const text = await response.text();
    const ms = Math.round(performance.now() - began);
    let shown = text, parsed = null;
    try { parsed = JSON.parse(text); shown = pretty(parsed); } catch { /* shown as it came */ }
    const kind = response.status === 202 ? "wait" : response.ok ? "good" : "bad";
    answer.replaceChildren(
      make("div", {}, make("strong", { class: kind, text: `${response.status} ${response.statusText}` }), make("span", { class: "hint", text: ` · ${ms} ms` })),
      ...["Location", "Preference-Applied", "Retry-After", "X-Request-ID"].filter((name) => response.headers.get(name))
        .map((name) => make("div", { class: "hint mono", text: `${name}: ${response.headers.get(name)}` })),
      shown ? make("pre", { text: shown, tabindex: "0" }) : "");
    const job = parsed && response.status === 202 && parsed.job_id;
    if (job) answer.append(follow(job, answer, button));
  } catch (error) {
    answer.replaceChildren(make("p", { class: "bad", text: `No answer: ${error.message}` }));
  } finally {
    button.disabled = false;
  }
}

function follow(job, answer, button) {
  const url = new URL(`jobs/${encodeURIComponent(job)}?wait=20`, ROOT);
  return make("button", { type: "button", text: "Wait for this job", onclick: () => send({ url, method: "GET", headers: {} }, answer, button) });
}

function fill(inside, method, path, operation) {
  if (operation.description) inside.append(prose("p", { class: "hint" }, operation.description));
  const [inputs, request] = form(method, path, operation);
  const content = Object.values((operation.requestBody || {}).content || {})[0];
  const answer = make("div", { class: "answer", "aria-live": "polite" });
  const button = make("button", { type: "button", class: "send", text: "Send" });
  button.addEventListener("click", () => send(request(), answer, button));
  const line = make("pre", { tabindex: "0" });
  const command = make("button", { type: "button", text: "As curl", onclick: () => { line.textContent = curl(request()); line.hidden = false; } });
  line.hidden = true;
  inside.append(make("h3", { text: "Try it" }), inputs, make("div", { class: "buttons" }, button, command), line, answer);
  if (content) {
    const schema = resolved(content.schema);
    const list = fields(schema.properties && schema.properties.metadata ? schema.properties.metadata : schema);
    if (list) inside.append(make("h3", { text: "Fields" }), list);
  }
  inside.append(make("h3", { text: "Answers" }));
  const list = make("ul", { class: "members" });
  for (const [status, each] of Object.entries(operation.responses || {})) {
    const item = make("li", {}, make("code", { class: status < 300 ? (status === "202" ? "wait" : "good") : "bad", text: status }), " ", each.description || "");
    const schema = status < 300 && Object.values(each.content || {})[0];
    const names = schema && Object.keys(resolved(schema.schema).properties || {});
    if (names && names.length) item.append(make("div", { class: "hint mono", text: names.join(", ") }));
    list.append(item);
  }
  inside.append(list);
}

function card(method, path, operation) {
  const inside = make("div", { class: "inside" });
  const node = make("details", {}, make("summary", {},
    make("span", { class: `method ${method}`, text: method }), make("span", { class: "path", text: path }),
    prose("span", { class: "what" }, operation.summary || "")), inside);
  node.addEventListener("toggle", () => { if (node.open && !inside.childNodes.length) fill(inside, method, path, operation); });
  return node;
}

function show() {
  document.getElementById("release").textContent = description.info.version === "0" ? "" : description.info.version;
  document.getElementById("about").textContent = description.info.description;
  const cards = new Map(description.tags.map((tag) => [tag.name, []]));
  for (const [path, methods] of Object.entries(description.paths))
    for (const [method, operation] of Object.entries(methods)) cards.get(operation.tags[0]).push(card(method.toUpperCase(), path, operation));
  const main = document.getElementById("operations"), nav = document.getElementById("sections");
  if (key) nav.append(make("button", { type: "button", text: "Forget the key", onclick: () => useKey("") }));
  for (const [tag, found] of cards) {
    const empty = make("p", { class: "hint", text: "No endpoint takes predictions now: deploy a model below." });
    if (!found.length && tag !== "Endpoints") continue;
    main.append(make("section", { id: tag }, make("h2", { text: tag }), ...(found.length ? found : [empty])));
    nav.append(make("a", { href: "#" + tag, text: tag }));
  }
  const first = main.querySelector("#Endpoints details");
  if (first) first.open = true;
}

fetch(new URL("openapi.json", ROOT), { headers: withKey({}) }).then(async (response) => {
  const found = await response.json();
  if (response.status === 401) { askForKey(found.detail); return; }
  if (!response.ok) throw new Error(found.detail || response.status);
  description = found;
  show();
}).catch((error) => {
  const about = document.getElementById("about");
  about.className = "bad";
  about.textContent = `The API description can't be read: ${error.message}`;
});
