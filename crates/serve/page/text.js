// What models, clients and servers say is text here, never elements.

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;

/** An answer in parts: texts, and what stands between code fences. */
export function parts(text) {
  const found = [];
  let lines = [];
  let fence = null;
  const end = (kind) => {
    if (kind === "code" || lines.some((line) => line.trim())) found.push({ kind, text: lines.join("\n") });
    lines = [];
  };
  for (const line of text.split("\n")) {
    const [, mark, rest] = FENCE.exec(line) ?? [];
    if (!fence && mark && !(mark[0] === "`" && rest.includes("`"))) {
      end("text");
      fence = mark;
    } else if (fence && mark && mark[0] === fence[0] && mark.length >= fence.length && !rest.trim()) {
      end("code");
      fence = null;
    } else {
      lines.push(line);
    }
  }
  end(fence ? "code" : "text");
  return found;
}

/** Shows an answer in an element. What it shows already stays, so that selections last while more comes. */
export function show(element, text) {
  const wanted = parts(text);
  while (element.children.length > wanted.length) element.lastChild.remove();
  wanted.forEach((part, index) => {
    let child = element.children[index];
    if (child?.dataset.kind !== part.kind) {
      const made = part.kind === "code" ? code() : prose();
      if (child) child.replaceWith(made);
      else element.append(made);
      child = made;
    }
    const place = child.querySelector("code") ?? child;
    if (place.textContent !== part.text) place.textContent = part.text;
  });
}

function prose() {
  const element = document.createElement("p");
  element.dataset.kind = "text";
  element.dir = "auto";
  return element;
}

function code() {
  const element = document.createElement("div");
  element.dataset.kind = "code";
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  const inner = document.createElement("code");
  pre.append(inner);
  element.append(copyButton(() => inner.textContent), pre);
  return element;
}

function copyButton(text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  copies(button, text);
  return button;
}

/** Makes a button that copies what `text` gives. */
export function copies(button, text) {
  const name = button.textContent;
  let timer;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text())) ? "Copied" : "Not allowed here";
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = name), 1500);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that did not come over TLS or from this machine have an older way only.
    const area = document.createElement("textarea");
    const focused = document.activeElement;
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return done;
  }
}

/** A name in one line: characters that would control a terminal or the direction of what follows become visible. */
export function visible(name) {
  return name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
