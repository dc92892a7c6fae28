// What a browser without script does too, live: pictures come as they are drawn, not as
// they are scrolled to, and the state of the server is shown.
"use strict";

const byId = (id) => document.getElementById(id);
const seconds = (ms) => (ms / 1000).toFixed(2) + " s";

// What has not changed is left alone: it may be read aloud.
function show(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function showWorkers(workers) {
  byId("workers").replaceChildren(...workers.map((worker) => {
    const row = document.createElement("tr");
    for (const text of [worker.pid || "being replaced", worker.tasks, seconds(worker.ms)]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }));
}

function showDocument(shown) {
  const progress = byId("progress");
  progress.hidden = false;
  progress.max = shown.pages;
  progress.value = shown.drawn;
  const times = shown.drawn === 0 ? "" : ` in ${seconds(shown.wall_ms)}; ` +
    `one after the other: ${seconds(shown.serial_ms)}`;
  show("summary", `${shown.drawn} of ${shown.pages} pages drawn${times}`);
  if (shown.drawn === shown.pages) show("message", "All pages are drawn.");
}

let events, retry;

function watch() {
  const name = main.dataset.document;
  events = new EventSource("/events" + (name ? "?document=" + name : ""));
  // The browser itself tries again when a connection is lost, but not after another answer.
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) retry = setTimeout(watch, 3000);
  };
  events.onmessage = (event) => {
    const state = JSON.parse(event.data);
    byId("state").hidden = false;
    show("waiting", String(state.waiting));
    show("admission", state.admission);
    show("reason", state.reason);
    showWorkers(state.workers);
    if (state.document && byId("summary")) showDocument(state.document);
  };
}

const main = document.querySelector("main");
for (const image of document.querySelectorAll(".pages img")) image.loading = "eager";
const form = document.querySelector("form");
if (form) form.addEventListener("submit", () => show("message", "Uploading …"));
// A page that is left may be kept, and shown as it was when its visitor comes back.
addEventListener("pagehide", () => {
  clearTimeout(retry);
  events.close();
});
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  if (form) show("message", "");
  watch();
});
watch();
