"use strict";
const list = document.getElementById("registrations");
const events = new EventSource("/events");
events.onmessage = async () => {
  const answer = await fetch("/registrations");
  if (!answer.ok) return;
  const html = await answer.text();
  if (html !== list.dataset.shown) {
    list.innerHTML = html; // the device's own page, escaped there
    list.dataset.shown = html;
  }
};
