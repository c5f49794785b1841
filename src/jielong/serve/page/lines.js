/** Answers that come in pieces over fetch: lines of JSON, and server-sent events of a POST. */

import { request } from "./api.js";

/**
 * Give the lines of a response as they come.
 *
 * @param {Response} response
 */
async function* lines(response) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const parts = (rest + value).split(/\r?\n/);
    rest = parts.pop() ?? "";
    yield* parts;
  }
  if (rest) yield rest;
}

/**
 * Upload a file into the library and give its steps as they are made.
 *
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<UploadStep>}
 */
export async function* upload(file, signal) {
  const response = await request(`/api/library/documents?name=${encodeURIComponent(file.name)}`, {
    method: "POST",
    body: file,
    headers: { "Content-Type": file.type || "application/octet-stream" },
    signal,
  });
  for await (const line of lines(response)) {
    const json = line.replace(/^data:/, "").trim();
    if (json.startsWith("{")) yield JSON.parse(json);
  }
}

/**
 * Ask several models the same and give the events as they come: their name and their data.
 *
 * @param {{ models: string[], prompt: string, system?: string, max_tokens?: number }} question
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{ name: string, data: any }>}
 */
export async function* compare(question, signal) {
  const response = await request("/api/compare", { method: "POST", json: question, signal });
  let name = "message";
  for await (const line of lines(response)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) yield { name, data: JSON.parse(line.slice(5)) };
  }
}
