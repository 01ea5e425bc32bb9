// What the scripts of Node's clients share; `report.py` says what that is.
//
//     node CLIENT.mjs BASE_URL SECONDS WAY:MODEL...
import { createHash } from "node:crypto";

export const PROMPT = "Two pictures of a lighthouse, and light the lamp.";
export const API_KEY = "sk-or-v1-interop";
export const LAMP = { type: "object", properties: { color: { type: "string" }, seconds: { type: "integer" } } };
export const painted = (model) => (model.includes("image") ? { modalities: ["image", "text"] } : {});
export const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

export function digestUrl(url) {
  return url.startsWith("data:") ? digest(Buffer.from(url.slice(url.indexOf(",") + 1), "base64")) : url;
}

export function described(error) {
  const headers = error.responseHeaders ?? Object.fromEntries(error.headers ?? []);
  return {
    type: error.name === "Error" ? error.constructor.name : error.name,
    status: error.statusCode ?? error.status ?? null,
    message: String(error.message ?? JSON.stringify(error)).slice(0, 500),
    retry_after: headers["retry-after"] ?? null,
  };
}

const emptyAnswer = () => ({
  text: "", reasoning: "", refusal: "", images: [], tool_calls: [], finish_reason: null, usage: null, error: null, seen: null,
});

async function one(ask, model, seconds) {
  const answer = emptyAnswer();
  try {
    await ask(model, answer, AbortSignal.timeout(seconds * 1000));
  } catch (error) {
    answer.error = described(error);
  }
  return answer;
}

export async function main(waysOf) {
  const [baseUrl, seconds, ...cases] = process.argv.slice(2);
  const warnings = [];
  process.on("warning", (warning) => warnings.push(String(warning)));
  const ways = waysOf(baseUrl);
  const answers = await Promise.all(
    cases.map(async (name) => {
      const at = name.indexOf(":");
      return [name, await one(ways[name.slice(0, at)], name.slice(at + 1), Number(seconds))];
    }),
  );
  console.log(JSON.stringify({ answers: Object.fromEntries(answers), warnings }));
}
