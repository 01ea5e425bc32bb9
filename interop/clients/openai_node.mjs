// The `openai` package of npm: `create` streamed and whole, and the `.stream()` helper.
import OpenAI from "openai";
import { API_KEY, LAMP, PROMPT, digestUrl, main, painted } from "./report.mjs";

function read(received, answer) {
  if (received.usage) {
    const { prompt_tokens, completion_tokens, total_tokens, cost } = received.usage;
    answer.usage = { prompt_tokens, completion_tokens, total_tokens, cost };
  }
  for (const choice of received.choices) {
    const message = choice.delta ?? choice.message;
    answer.finish_reason = choice.finish_reason ?? answer.finish_reason;
    answer.text += message.content ?? "";
    answer.refusal += message.refusal ?? "";
    answer.reasoning += message.reasoning ?? "";
    for (const image of message.images ?? []) answer.images.push(digestUrl(image.image_url.url));
    for (const [position, call] of (message.tool_calls ?? []).entries()) {
      const merged = (answer.tool_calls[call.index ?? position] ??= ["", ""]);
      merged[0] ||= call.function?.name ?? "";
      merged[1] += call.function?.arguments ?? "";
    }
  }
}

main((baseURL) => {
  const once = new OpenAI({ baseURL, apiKey: API_KEY, maxRetries: 0 });
  const retrying = new OpenAI({ baseURL, apiKey: API_KEY });
  const tool = { type: "function", function: { name: "light_lamp", description: "Lights the lamp.", parameters: LAMP } };
  const request = (model) => ({
    model,
    messages: [{ role: "user", content: PROMPT }],
    ...painted(model),
    ...(model.includes("tool") ? { tools: [tool] } : {}),
  });
  const streamed = (client, isLeft) => async (model, answer, signal) => {
    for await (const chunk of await client.chat.completions.create({ ...request(model), stream: true }, { signal })) {
      read(chunk, answer);
      if (isLeft && answer.text) break;
    }
  };
  return {
    stream: streamed(once),
    left: streamed(once, true),
    retried: streamed(retrying),
    whole: async (model, answer, signal) => read(await once.chat.completions.create(request(model), { signal }), answer),
    helper: async (model, answer, signal) =>
      read(await once.chat.completions.stream(request(model), { signal }).finalChatCompletion(), answer),
  };
});
