// What stays: settings in the browser, conversations and the key in the tab.

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

/** Most tokens of an answer, where nothing is set: a model that finds no end shall not fill its context. */
const MAX_TOKENS = 1024;

function read(storage, name, fallback) {
  try {
    return JSON.parse(storage().getItem(`olive.${name}`)) ?? fallback;
  } catch {
    return fallback;
  }
}

function write(storage, name, value) {
  try {
    storage().setItem(`olive.${name}`, JSON.stringify(value));
  } catch {
    // Full, or not allowed: then nothing stays.
  }
}

// That there is no storage is told when it is asked for.
const browser = () => localStorage;
const tab = () => sessionStorage;

let key = read(tab, "key", "");
const values = read(browser, "settings", {});

export const settings = {
  get: (name) => values[name],
  set(name, value) {
    values[name] = value;
    write(browser, "settings", values);
  },
  key: () => key,
  setKey(given) {
    key = given;
    write(tab, "key", given);
  },
  conversations: () => read(tab, "conversations", []),
  setConversations: (list) => write(tab, "conversations", list),

  /** The fields of a request that are set. What is no number or out of range goes to the server, which says so. */
  fields() {
    const fields = { max_tokens: MAX_TOKENS };
    for (const name of NUMBERS) {
      if (values[name] !== undefined && values[name] !== "") fields[name] = Number(values[name]);
    }
    return fields;
  },
};

/** Lets a form show and change the settings that its fields are named after. */
export function bind(form) {
  const fields = [...form.elements].filter((field) => field.name);
  for (const field of fields) field.value = values[field.name] ?? "";
  form.addEventListener("input", ({ target }) => settings.set(target.name, target.value));
  form.addEventListener("submit", (event) => event.preventDefault());
  return function reset() {
    for (const field of fields) {
      field.value = "";
      settings.set(field.name, "");
    }
  };
}
