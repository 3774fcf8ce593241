// @openai/agents: an agent with a tool, a handoff, a stream, a session; over Responses and over chat completions.
import assert from "node:assert/strict";
import {
  Agent, OpenAIChatCompletionsModel, OpenAIConversationsSession, OpenAIResponsesModel, run, setTracingDisabled, tool,
} from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";
import { MODEL, apiKey, baseURL, check, collect, done } from "./check.mjs";

setTracingDisabled(true);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

const doors = {
  responses: (name) => new OpenAIResponsesModel(client, name),
  chat: (name) => new OpenAIChatCompletionsModel(client, name),
};

const weather_tool = (calls) => tool({
  name: "get_weather",
  description: "The weather of a city",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    calls.push(city);
    return `sunny in ${city}`;
  },
});

for (const [door, model_of] of Object.entries(doors)) {
  const model = model_of(MODEL);

  await check(`agents, ${door}: an answer`, async () => {
    const result = await run(new Agent({ name: "Plain", instructions: "Be brief.", model }), "Hello there");
    assert.equal(result.finalOutput, "You said: Hello there");
    assert.equal(result.rawResponses[0].usage.outputTokens, 4);
  });

  await check(`agents, ${door}: a tool`, async () => {
    const calls = [];
    const agent = new Agent({ name: "Forecaster", model, tools: [weather_tool(calls)] });
    const result = await run(agent, 'call get_weather {"city":"Paris"}\ncall get_weather {"city":"Rome"}');
    assert.deepEqual(calls, ["Paris", "Rome"]);
    assert.equal(result.finalOutput, "The tools said: sunny in Paris, sunny in Rome");
  });

  await check(`agents, ${door}: a tool, streamed`, async () => {
    const calls = [];
    const result = await run(new Agent({ name: "Forecaster", model, tools: [weather_tool(calls)] }),
      'call get_weather {"city":"Paris"}', { stream: true });
    const text = (await collect(result.toTextStream())).join("");
    await result.completed;
    assert.deepEqual(calls, ["Paris"]);
    assert.equal(text, "The tools said: sunny in Paris");
    assert.equal(result.finalOutput, text);
  });

  await check(`agents, ${door}: a handoff`, async () => {
    const spanish = new Agent({ name: "Spanish", instructions: "Hable español.", model });
    const triage = new Agent({ name: "Triage", model, handoffs: [spanish] });
    const result = await run(triage, "call transfer_to_Spanish {}");
    assert.equal(result.lastAgent.name, "Spanish");
    assert.match(result.finalOutput, /^The tools said: /);
  });

  await check(`agents, ${door}: an output of a type`, async () => {
    const agent = new Agent({ name: "Cities", model, outputType: z.object({ name: z.string(), people: z.number() }) });
    const result = await run(agent, 'json {"name":"Paris","people":2100000}');
    assert.deepEqual(result.finalOutput, { name: "Paris", people: 2100000 });
  });

  await check(`agents, ${door}: an assistant of the server`, async () => {
    const agent = new Agent({ name: "Outside", model: model_of("assistant/forecaster") });
    const result = await run(agent, 'call look_outside {"city":"Oslo"}');
    assert.match(result.finalOutput, /snow in Oslo/);
  });

  await check(`agents, ${door}: a history that goes on`, async () => {
    const agent = new Agent({ name: "Plain", model });
    const first = await run(agent, "One");
    const second = await run(agent, [...first.history, { role: "user", content: "Two" }]);
    assert.equal(second.finalOutput, "You said: Two");
  });
}

await check("agents, responses: previousResponseId", async () => {
  const agent = new Agent({ name: "Plain", model: doors.responses(MODEL) });
  const first = await run(agent, "One");
  const second = await run(agent, "Two", { previousResponseId: first.lastResponseId });
  assert.equal(second.finalOutput, "You said: Two");
});

await check("agents, responses: a session that is a conversation of the server", async () => {
  const session = new OpenAIConversationsSession({ client });
  const agent = new Agent({ name: "Plain", model: doors.responses(MODEL) });
  await run(agent, "One", { session });
  assert.equal((await run(agent, "Two", { session })).finalOutput, "You said: Two");
  assert.equal((await session.getItems()).length, 4);
});

done();
