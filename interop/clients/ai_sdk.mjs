// `@openrouter/ai-sdk-provider` under `ai`: `streamText` with every kind of part, and `generateText`.
import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { generateText, jsonSchema, streamText, tool } from "ai";
import { API_KEY, LAMP, PROMPT, described, digest, main, painted } from "./report.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false; // told in `seen` instead

function keepEnd(answer, { finishReason, usage, providerMetadata, warnings }) {
  answer.finish_reason = finishReason;
  answer.usage = {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.totalTokens,
    cost: providerMetadata?.openrouter?.usage?.cost ?? null,
  };
  answer.seen = { warnings: warnings ?? [], provider: providerMetadata?.openrouter?.provider ?? null };
}

main((baseURL) => {
  const openrouter = createOpenRouter({ baseURL, apiKey: API_KEY, compatibility: "strict" });
  const request = (model, signal, maxRetries) => ({
    model: openrouter.chat(model, { extraBody: painted(model) }),
    prompt: PROMPT,
    abortSignal: signal,
    maxRetries,
    ...(model.includes("tool")
      ? { tools: { light_lamp: tool({ description: "Lights the lamp.", inputSchema: jsonSchema(LAMP) }) } }
      : {}),
  });
  const streamed = (maxRetries) => async (model, answer, signal) => {
    const result = streamText({ ...request(model, signal, maxRetries), onError: () => {} });
    for await (const part of result.fullStream) {
      if (part.type === "text-delta") answer.text += part.text;
      if (part.type === "reasoning-delta") answer.reasoning += part.text;
      if (part.type === "file") answer.images.push(digest(part.file.uint8Array));
      if (part.type === "tool-call") answer.tool_calls.push([part.toolName, JSON.stringify(part.input)]);
      if (part.type === "error") answer.error = described(part.error);
      if (part.type === "finish-step") keepEnd(answer, part);
    }
  };
  return {
    stream: streamed(0),
    retried: streamed(2),
    whole: async (model, answer, signal) => {
      const result = await generateText(request(model, signal, 0));
      answer.text = result.text;
      answer.reasoning = result.reasoningText ?? "";
      answer.images = result.files.map((file) => digest(file.uint8Array));
      answer.tool_calls = result.toolCalls.map((call) => [call.toolName, JSON.stringify(call.input)]);
      keepEnd(answer, result);
    },
  };
});
