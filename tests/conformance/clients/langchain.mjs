// @langchain/openai: ChatOpenAI over chat completions and over responses, and its embeddings.
import assert from "node:assert/strict";
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { MODEL, apiKey, baseURL, check, collect, done, failure } from "./check.mjs";

const common = { apiKey, configuration: { baseURL }, maxRetries: 0 };
const chat = (options) => new ChatOpenAI({ model: MODEL, ...common, ...options });
const embeddings = (options) => new OpenAIEmbeddings({ model: "openai/text-embedding-3-small", ...common, ...options });

const weather = tool(async ({ city }) => `sunny in ${city}`, {
  name: "get_weather", description: "The weather of a city", schema: z.object({ city: z.string() }),
});
const call_paris = 'call get_weather {"city":"Paris"}';

for (const [door, options] of Object.entries({ chat: { useResponsesApi: false }, responses: { useResponsesApi: true } })) {
  const model = chat(options);

  await check(`langchain, ${door}: invoke`, async () => {
    const message = await model.invoke([new SystemMessage("Be brief."), new HumanMessage("Hello there")]);
    assert.equal(message.text, "You said: Hello there");
    assert.equal(message.usage_metadata.output_tokens, 4);
  });

  await check(`langchain, ${door}: stream`, async () => {
    const chunks = await collect(await model.stream("Hello there"));
    assert.equal(chunks.map((chunk) => chunk.text).join(""), "You said: Hello there");
    const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
    assert.equal(whole.usage_metadata.output_tokens, 4);
  });

  await check(`langchain, ${door}: bindTools and the result`, async () => {
    const bound = model.bindTools([weather]);
    const asked = new HumanMessage(`${call_paris}\ncall get_weather {"city":"Rome"}`);
    const first = await bound.invoke([asked]);
    assert.deepEqual(first.tool_calls.map((call) => call.args), [{ city: "Paris" }, { city: "Rome" }]);
    const results = await Promise.all(first.tool_calls.map((call) => weather.invoke(call)));
    assert.ok(results.every((result) => result instanceof ToolMessage));
    const second = await bound.invoke([asked, first, ...results]);
    assert.equal(second.text, "The tools said: sunny in Paris, sunny in Rome");
  });

  await check(`langchain, ${door}: tool calls, streamed`, async () => {
    const chunks = await collect(await model.bindTools([weather]).stream(call_paris));
    const whole = chunks.reduce((sum, chunk) => sum.concat(chunk));
    assert.deepEqual(whole.tool_calls.map((call) => [call.name, call.args]), [["get_weather", { city: "Paris" }]]);
  });

  await check(`langchain, ${door}: withStructuredOutput`, async () => {
    const City = z.object({ name: z.string(), people: z.number() });
    const structured = model.withStructuredOutput(City, { name: "city", method: "jsonSchema" });
    assert.deepEqual(await structured.invoke('json {"name":"Paris","people":2100000}'), { name: "Paris", people: 2100000 });
  });

  await check(`langchain, ${door}: a conversation that goes on`, async () => {
    const first = await model.invoke("One");
    assert.ok(first instanceof AIMessage);
    const second = await model.invoke([new HumanMessage("One"), first, new HumanMessage("Two")]);
    assert.equal(second.text, "You said: Two");
  });

  await check(`langchain, ${door}: an assistant`, async () => {
    const message = await chat({ ...options, model: "assistant/forecaster" }).invoke('call look_outside {"city":"Oslo"}');
    assert.match(message.text, /snow in Oslo/);
  });

  await check(`langchain, ${door}: an error`, async () => {
    const error = await failure(chat({ ...options, model: "openai/nonesuch" }).invoke("Hi"), Error);
    assert.equal(error.status, 404, String(error));
  });
}

await check("langchain: embeddings", async () => {
  assert.deepEqual(await embeddings().embedQuery("moon"), [4, 0.5]);
  assert.deepEqual(await embeddings({ encodingFormat: "float" }).embedDocuments(["a", "bb"]), [[1, 0.5], [2, 0.5]]);
});

done();
