// A column: a model, and what was said with it.

import { answer } from "./api.js";
import { settings } from "./settings.js";
import { copies, show, visible } from "./text.js";

/** How near to its end a log is so that it follows what comes, in pixels. */
const NEAR = 40;

/** Seconds in which too few pieces come to tell a speed from. */
const SOON = 0.05;

const make = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

export class Conversation {
  /** `on.changed` is told what is to be kept has changed, `on.refused` that the key does not open, `on.unknown` that
   *  there are other models now; `on.began` and `on.focus` what is to be offered, and where to go on. */
  constructor(on) {
    this.on = on;
    this.element = make("column");
    this.select = this.element.querySelector("select");
    this.kind = this.element.querySelector(".kind");
    this.log = this.element.querySelector(".log");
    this.models = new Map();
    this.exchanges = [];
    this.abort = null;
    this.select.addEventListener("change", () => {
      this.tellKind();
      on.changed();
    });
  }

  get model() {
    return this.select.value;
  }

  get isAnswering() {
    return this.abort !== null;
  }

  /** Offers these models, and chooses `wanted` if it is one of them, else that at `place`. */
  offer(models, wanted, place) {
    this.models = new Map(models.map((model) => [model.id, model]));
    const options = models.map((model) => {
      const option = document.createElement("option");
      option.value = model.id;
      option.textContent = visible(model.id);
      return option;
    });
    this.select.replaceChildren(...options);
    this.select.value = this.models.has(wanted) ? wanted : (models[place] ?? models[0]).id;
    this.tellKind();
  }

  tellKind() {
    this.kind.hidden = this.models.get(this.model)?.chat !== false;
  }

  name(label) {
    this.log.setAttribute("aria-label", label);
    this.select.setAttribute("aria-label", label.replace("Conversation", "Model"));
  }

  /** What is kept of it. */
  saved() {
    return this.exchanges.map(({ question, answer, model, facts, left }) => ({ question, answer, model, facts, left }));
  }

  restore(list) {
    for (const kept of list) this.add(kept);
  }

  clear() {
    this.stop();
    this.exchanges = [];
    this.log.replaceChildren();
  }

  stop() {
    this.abort?.abort();
  }

  /** Asks, and resolves when the answer has ended in whichever way. */
  ask(question) {
    return this.answer(this.add({ question, answer: "", model: this.model, facts: "", left: false }));
  }

  add({ question, answer, model, facts, left }) {
    const view = make("exchange");
    const part = (name) => view.querySelector(name);
    const exchange = { question, answer, model, facts, left, view, part };
    part(".question").textContent = question;
    show(part(".answer"), answer);
    part(".facts").textContent = facts;
    this.sign(exchange);
    copies(part(".copy"), () => exchange.answer);
    part(".again").addEventListener("click", () => this.again(exchange));
    part(".shorten").addEventListener("click", () => this.shorten(exchange));
    this.exchanges.push(exchange);
    this.log.append(view);
    return exchange;
  }

  /** Says on the page who answers, whether with more than nothing, and whether it is left out of later requests. */
  sign({ view, part, model, answer, left }) {
    part(".who").textContent = visible(model);
    part(".copy").hidden = !answer;
    view.classList.toggle("left", left);
  }

  async again(exchange) {
    if (this.isAnswering) return;
    this.on.focus();
    exchange.model = this.model;
    await this.answer(exchange);
  }

  /** Asks again, with ever less of what was said before, until it fits. */
  async shorten(exchange) {
    if (this.isAnswering) return;
    this.on.focus();
    for (;;) {
      const oldest = this.before(exchange)[0];
      if (!oldest) return;
      oldest.left = true;
      this.sign(oldest);
      const error = await this.answer(exchange);
      if (error?.code !== "context_length_exceeded") return;
    }
  }

  /** The exchanges before one that a request tells the model: those with an answer. */
  before(exchange) {
    const earlier = this.exchanges.slice(0, this.exchanges.indexOf(exchange));
    return earlier.filter(({ answer, left }) => answer && !left);
  }

  request(exchange, form) {
    const system = settings.get("system");
    const before = this.before(exchange);
    const fields = { model: exchange.model, ...settings.fields() };
    if (form === "text") {
      const texts = before.map(({ question, answer }) => question + answer);
      return { ...fields, prompt: [system, ...texts, exchange.question].filter(Boolean).join("\n\n") };
    }
    const turn = (role, content) => ({ role, content });
    const said = before.flatMap(({ question, answer }) => [turn("user", question), turn("assistant", answer)]);
    const first = system ? [turn("system", system)] : [];
    return { ...fields, messages: [...first, ...said, turn("user", exchange.question)] };
  }

  /** Fills an exchange with an answer. Gives the error, if one ended it. */
  async answer(exchange) {
    const form = this.models.get(exchange.model)?.chat === false ? "text" : "chat";
    const abort = (this.abort = new AbortController());
    const clock = new Clock();
    this.begin(exchange);
    let error = null;
    try {
      for await (const piece of answer(form, this.request(exchange, form), settings.key(), abort.signal)) {
        clock.take(piece);
        exchange.answer += piece.text;
        if (piece.text) this.draw(exchange);
      }
    } catch (caught) {
      error = caught;
    }
    this.abort = null;
    this.end(exchange, clock, abort.signal.aborted ? null : error);
    return error;
  }

  begin(exchange) {
    Object.assign(exchange, { answer: "", facts: "reading…" });
    this.sign(exchange);
    show(exchange.part(".answer"), "");
    exchange.part(".facts").textContent = exchange.facts;
    exchange.part(".error").hidden = true;
    exchange.part(".shorten").hidden = true;
    exchange.view.classList.add("open");
    this.log.setAttribute("aria-busy", "true");
    this.log.scrollTop = this.log.scrollHeight;
    this.on.began();
  }

  /** Shows what has come, before the next picture. */
  draw(exchange) {
    if (exchange.drawing) return;
    exchange.drawing = requestAnimationFrame(() => this.drawNow(exchange));
  }

  drawNow(exchange) {
    cancelAnimationFrame(exchange.drawing);
    exchange.drawing = null;
    this.following(() => {
      show(exchange.part(".answer"), exchange.answer);
      exchange.part(".facts").textContent = exchange.facts;
    });
  }

  /** Changes the log, which stays at its end if it is there. */
  following(change) {
    const log = this.log;
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    change();
    if (follows) log.scrollTop = log.scrollHeight;
  }

  end(exchange, clock, error) {
    exchange.facts = error ? "" : clock.facts();
    this.following(() => {
      exchange.view.classList.remove("open");
      if (error) this.tell(exchange, error);
      this.sign(exchange);
      this.drawNow(exchange);
    });
    this.log.removeAttribute("aria-busy");
    this.on.changed();
    if (error?.status === 401) this.on.refused();
    if (error?.code === "model_not_found") this.on.unknown();
  }

  tell(exchange, error) {
    exchange.part(".error").textContent = visible(error.message);
    exchange.part(".error").hidden = false;
    const tooLong = error.code === "context_length_exceeded";
    exchange.part(".shorten").hidden = !tooLong || this.before(exchange).length === 0;
  }
}

/** When the pieces of an answer came. */
class Clock {
  start = performance.now();
  first = null;
  last = null;
  tokens = null;
  reason = null;

  take({ text, reason, usage }) {
    if (text) {
      this.last = performance.now();
      this.first ??= this.last;
    }
    this.reason ??= reason ?? null;
    this.tokens ??= usage?.completion_tokens ?? null;
  }

  /** `24 tokens, 31.5 tokens/s, first after 0.08 s` */
  facts() {
    const facts = [];
    if (this.tokens !== null) facts.push(`${this.tokens} token${this.tokens === 1 ? "" : "s"}`);
    const seconds = (this.last - this.first) / 1000;
    if (this.tokens > 1 && seconds > SOON) facts.push(`${((this.tokens - 1) / seconds).toFixed(1)} tokens/s`);
    if (this.first !== null) facts.push(`first after ${((this.first - this.start) / 1000).toFixed(2)} s`);
    if (this.reason === null) facts.push("stopped");
    if (this.reason === "length") facts.push("ended by the limit of tokens");
    return facts.join(", ");
  }
}
