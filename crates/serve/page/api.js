// Talking to the server, as any client of OpenAI's would.

/** What the server says against a request; without a status, it said nothing. */
export class ApiError extends Error {
  constructor(message, status = 0, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const UNREACHABLE = "The server cannot be reached.";
const LOST = "The connection was lost before the answer ended.";

async function call(path, key, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE);
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new ApiError(error?.message ?? `The server answers ${response.status}.`, response.status, error?.code);
}

/** Models that there are: `{id, chat, max_model_len}`. */
export async function models(key) {
  const response = await call("v1/models", key);
  return (await response.json()).data;
}

/**
 * The answer to a request, piece by piece: `{text, reason, usage}`, each where there is one.
 * `form` is "chat" or "text"; aborting the signal closes the connection, which ends the server's work.
 */
export async function* answer(form, request, key, signal) {
  const response = await call(form === "chat" ? "v1/chat/completions" : "v1/completions", key, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const { error, choices, usage } = JSON.parse(data);
    if (error) throw new ApiError(error.message, response.status, error.code);
    const choice = choices[0];
    yield { text: choice?.delta?.content ?? choice?.text ?? "", reason: choice?.finish_reason, usage };
  }
  throw new ApiError(LOST);
}

/** The data of server-sent events, each of which is one line here. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(LOST);
    }
    if (read.done) return;
    const lines = (rest + read.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ")) yield line.slice(6);
    }
  }
}
