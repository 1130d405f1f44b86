// The page: two columns, of which one may be hidden, and what asks them.

import { models } from "./api.js";
import { Conversation } from "./conversation.js";
import { bind, settings } from "./settings.js";
import { visible } from "./text.js";

const at = (id) => document.getElementById(id);
const question = at("question");

const on = {
  changed,
  began: busy,
  focus: () => question.focus(),
  refused: () => askKey("The server refuses this key."),
  unknown: () => load(),
};
const columns = [new Conversation(on), new Conversation(on)];
const shown = () => columns.filter((column) => !column.element.hidden);
const answering = () => columns.some((column) => column.isAnswering);

/** Milliseconds before a server that is loading its models is asked again. */
const PATIENCE = 1000;

function changed() {
  settings.setConversations(columns.map((column) => column.saved()));
  settings.set("models", columns.map((column) => column.model));
  busy();
}

/** Offers what can be done now: to stop, or to send. */
function busy() {
  const active = answering();
  const wasThere = document.activeElement === at("stop");
  at("send").hidden = active;
  at("stop").hidden = !active;
  for (const button of document.querySelectorAll(".again, .shorten")) button.disabled = active;
  if (wasThere && !active) question.focus();
}

function notice(text, retry, label = "Try again") {
  const place = at("notice");
  const button = place.querySelector("button");
  place.querySelector("span").textContent = visible(text);
  place.hidden = !text;
  button.hidden = !retry;
  button.textContent = label;
  button.onclick = retry;
}

/** Asks the server for its models, until it has some. */
async function load() {
  try {
    const list = await models(settings.key());
    const wanted = settings.get("models") ?? [];
    columns.forEach((column, place) => column.offer(list, wanted[place], place));
    notice("");
  } catch (error) {
    if (error.status === 503) {
      notice(error.message);
      setTimeout(load, PATIENCE);
    } else if (error.status === 401) {
      notice("The server needs a key.", () => askKey(""), "Give a key");
      askKey(settings.key() ? "The server refuses this key." : "");
    } else {
      notice(error.message, load);
    }
  }
}

function askKey(problem) {
  const error = at("key-error");
  error.textContent = problem;
  error.hidden = !problem;
  if (!at("key-dialog").open) at("key-dialog").showModal();
  at("key").select();
}

function useKey(event) {
  event.preventDefault();
  const key = at("key").value.trim();
  if (!/^[\x21-\x7e]*$/.test(key)) {
    askKey("A key is one line of visible ASCII characters.");
    return;
  }
  settings.setKey(key);
  at("key").value = "";
  at("key-dialog").close();
  load();
}

function send(event) {
  event?.preventDefault();
  const text = question.value;
  if (answering() || !text.trim()) return;
  if (shown().some((column) => !column.model)) {
    load();
    return;
  }
  question.value = "";
  question.focus();
  for (const column of shown()) column.ask(text);
}

const stop = () => columns.forEach((column) => column.stop());

function compare(both) {
  columns[1].element.hidden = !both;
  at("compare").setAttribute("aria-pressed", both);
  columns[0].name(both ? "Conversation on the left" : "Conversation");
  columns[1].name("Conversation on the right");
  settings.set("compare", both);
}

function openSettings(open) {
  at("settings").hidden = !open;
  at("open-settings").setAttribute("aria-expanded", open);
}

at("columns").append(...columns.map((column) => column.element));
at("compare").addEventListener("click", () => {
  columns[1].stop();
  compare(columns[1].element.hidden);
});
at("new").addEventListener("click", () => {
  columns.forEach((column) => column.clear());
  changed();
  question.focus();
});
at("open-settings").addEventListener("click", () => openSettings(at("settings").hidden));
at("reset").addEventListener("click", bind(at("settings")));
at("change-key").addEventListener("click", () => askKey(""));
at("key-form").addEventListener("submit", useKey);
at("key-cancel").addEventListener("click", () => at("key-dialog").close());
at("composer").addEventListener("submit", send);
at("stop").addEventListener("click", stop);
question.addEventListener("keydown", (event) => {
  // What an input method takes is not sent.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || at("key-dialog").open) return;
  if (answering()) {
    stop();
  } else if (!at("settings").hidden) {
    openSettings(false);
    at("open-settings").focus();
  }
});

compare(settings.get("compare") === true);
settings.conversations().forEach((list, place) => columns[place]?.restore(list));
load();
