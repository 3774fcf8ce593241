// The AI SDK (package ai) with @ai-sdk/openai, chat and responses, and with @ai-sdk/openai-compatible.
import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError, embed, embedMany, generateImage, generateObject, generateText, isStepCount, streamObject, streamText, tool,
} from "ai";
import { z } from "zod";
import { MODEL, apiKey, baseURL, check, collect, done, failure } from "./check.mjs";

const openai = createOpenAI({ baseURL, apiKey });
const compatible = createOpenAICompatible({ name: "perilune", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });

const doors = {
  "openai chat": (name) => openai.chat(name),
  "openai responses": (name) => openai.responses(name),
  "openai-compatible": (name) => compatible.chatModel(name),
};

const City = z.object({ name: z.string(), people: z.number() });
const city_prompt = 'json {"name":"Paris","people":2100000}';

const weather_tool = (calls) => tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    calls.push(city);
    return `sunny in ${city}`;
  },
});

for (const [door, model_of] of Object.entries(doors)) {
  const model = model_of(MODEL);

  await check(`ai, ${door}: generateText`, async () => {
    const result = await generateText({ model, system: "Be brief.", prompt: "Hello there", temperature: 0.5 });
    assert.equal(result.text, "You said: Hello there");
    assert.equal(result.finishReason, "stop");
    assert.equal(result.usage.outputTokens, 4);
  });

  await check(`ai, ${door}: streamText`, async () => {
    const result = streamText({ model, prompt: "Hello there" });
    const parts = await collect(result.textStream);
    assert.equal(parts.join(""), "You said: Hello there");
    assert.ok(parts.length > 1);
    assert.equal(await result.finishReason, "stop");
    assert.equal((await result.usage).outputTokens, 4);
  });

  await check(`ai, ${door}: tools in several steps`, async () => {
    const calls = [];
    const result = await generateText({
      model, tools: { get_weather: weather_tool(calls) }, stopWhen: isStepCount(3),
      prompt: 'call get_weather {"city":"Paris"}\ncall get_weather {"city":"Rome"}',
    });
    assert.deepEqual(calls, ["Paris", "Rome"]);
    assert.equal(result.steps.length, 2);
    assert.equal(result.text, "The tools said: sunny in Paris, sunny in Rome");
  });

  await check(`ai, ${door}: tools in several steps, streamed`, async () => {
    const calls = [];
    const result = streamText({
      model, tools: { get_weather: weather_tool(calls) }, stopWhen: isStepCount(3), prompt: 'call get_weather {"city":"Paris"}',
      onError: () => {},
    });
    const failed = (await collect(result.fullStream)).find((part) => part.type === "error");
    assert.equal(failed, undefined, String(failed?.error));
    assert.deepEqual(calls, ["Paris"]);
    assert.equal(await result.text, "The tools said: sunny in Paris");
  });

  await check(`ai, ${door}: a conversation that goes on`, async () => {
    const first = await generateText({ model, prompt: "One" });
    const messages = [{ role: "user", content: "One" }, ...first.response.messages, { role: "user", content: "Two" }];
    assert.equal((await generateText({ model, messages })).text, "You said: Two");
  });

  await check(`ai, ${door}: generateObject and streamObject`, async () => {
    assert.deepEqual((await generateObject({ model, schema: City, prompt: city_prompt })).object, { name: "Paris", people: 2100000 });
    const streamed = await collect(streamObject({ model, schema: City, prompt: city_prompt }).partialObjectStream);
    assert.deepEqual(streamed.at(-1), { name: "Paris", people: 2100000 });
  });

  await check(`ai, ${door}: an assistant`, async () => {
    const assistant = model_of("assistant/forecaster");
    assert.match((await generateText({ model: assistant, prompt: 'call look_outside {"city":"Oslo"}' })).text, /snow in Oslo/);
    const streamed = await collect(streamText({ model: assistant, prompt: 'call look_outside {"city":"Oslo"}' }).textStream);
    assert.match(streamed.join(""), /snow in Oslo/);
  });

  await check(`ai, ${door}: an error`, async () => {
    const refused = model_of("openai/nonesuch");
    const error = await failure(generateText({ model: refused, prompt: "Hi", maxRetries: 0 }), APICallError);
    assert.equal(error.statusCode, 404);
    assert.equal(error.isRetryable, false);
  });
}

await check("ai, openai-compatible: reasoning", async () => {
  const result = streamText({ model: compatible.chatModel(MODEL), prompt: "think" });
  const parts = await collect(result.fullStream);
  assert.equal(parts.filter((part) => part.type === "reasoning-delta").map((part) => part.text).join(""), "Let me think.");
});

await check("ai, openai responses: reasoning", async () => {
  const result = await generateText({ model: openai.responses(MODEL), prompt: "think" });
  assert.equal(result.text, "You said: think");
  assert.ok(result.content.some((part) => part.type === "reasoning"));
});

await check("ai: embed and embedMany", async () => {
  for (const model of [openai.embedding("openai/text-embedding-3-small"), compatible.embeddingModel("openai/text-embedding-3-small")]) {
    assert.deepEqual((await embed({ model, value: "moon" })).embedding, [4, 0.5]);
    assert.deepEqual((await embedMany({ model, values: ["a", "bb"] })).embeddings, [[1, 0.5], [2, 0.5]]);
  }
});

await check("ai: generateImage", async () => {
  const { image } = await generateImage({ model: openai.image("openai/gpt-image-1"), prompt: "the moon" });
  assert.equal(Buffer.from(image.uint8Array).subarray(1, 4).toString(), "PNG");
});

done();
