// `ai` behind `useChat`: the chat without its React, asking a backend of ours, in the versions that people have.
//
// The ways are `5-first`, `5`, `6` and `7`; with `-stop` behind it the user presses stop at the first words.
import { AbstractChat as Chat5First, DefaultChatTransport as Transport5First } from "ai5-first";
import { AbstractChat as Chat5, DefaultChatTransport as Transport5 } from "ai5";
import { AbstractChat as Chat6, DefaultChatTransport as Transport6 } from "ai6";
import { AbstractChat as Chat7, DefaultChatTransport as Transport7 } from "ai";
import { LAMP, PROMPT, described, digest, digestUrl, main, painted } from "./report.mjs";

const VERSIONS = {
  "5-first": [Chat5First, Transport5First],
  5: [Chat5, Transport5],
  6: [Chat6, Transport6],
  7: [Chat7, Transport7],
};
const TOOL = { type: "function", function: { name: "light_lamp", description: "Lights the lamp.", parameters: LAMP } };

class State {
  status = "ready";
  error = undefined;
  messages = [];
  onChange = () => {};
  pushMessage = (message) => this.messages.push(message);
  popMessage = () => this.messages.pop();
  replaceMessage = (index, message) => {
    this.messages[index] = message;
    this.onChange(message);
  };
  snapshot = (thing) => structuredClone(thing);
}

async function fetched(api, url) {
  return url.startsWith("data:") ? digestUrl(url) : digest(Buffer.from(await (await fetch(new URL(url, api))).arrayBuffer()));
}

async function keep(message, api, answer) {
  for (const part of message?.parts ?? []) {
    if (part.type === "text") answer.text += part.text;
    if (part.type === "reasoning") answer.reasoning += part.text;
    if (part.type === "file" && part.mediaType.startsWith("image/")) answer.images.push(await fetched(api, part.url));
    if (part.toolCallId) answer.tool_calls.push([part.toolName ?? part.type.slice("tool-".length), JSON.stringify(part.input)]);
  }
  answer.finish_reason = message?.metadata?.finishReason ?? null;
  answer.usage = message?.metadata?.usage ?? null;
}

main((api) => {
  const asked = (version, isStopped) => async (model, answer, signal) => {
    const [Chat, Transport] = VERSIONS[version];
    const state = new State();
    const progress = [];
    let finish = {};
    class Plain extends Chat {}
    const tools = model.includes("tool") ? [TOOL] : null;
    const chat = new Plain({
      state,
      transport: new Transport({ api, body: { model, tools, ...painted(model) } }),
      onData: (part) => progress.push(part.data.state ?? part.type),
      onFinish: (event) => (finish = event),
    });
    signal.addEventListener("abort", () => chat.stop());
    if (isStopped) state.onChange = (message) => message.parts.some((part) => part.text) && chat.stop();
    await chat.sendMessage({ text: PROMPT });
    await keep(state.messages.find(({ role }) => role === "assistant"), api, answer);
    if (chat.error) answer.error = described(chat.error);
    answer.seen = { status: chat.status, progress, aborted: finish.isAbort ?? null };
  };
  const versions = Object.keys(VERSIONS);
  return Object.fromEntries(
    versions.flatMap((version) => [
      [version, asked(version, false)],
      [`${version}-stop`, asked(version, true)],
    ]),
  );
});
