// Chat completions with the openai package: answers, streams, helpers, tools, structured output.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { MODEL, apiKey, baseURL, check, collect, done } from "./check.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const create = (body, options) => client.chat.completions.create({ model: MODEL, ...body }, options);
const user = (content) => [{ role: "user", content }];

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
  },
};

const runnable = (calls) => ({
  type: "function",
  function: {
    ...weather.function,
    parse: JSON.parse,
    function: ({ city }) => {
      calls.push(city);
      return `sunny in ${city}`;
    },
  },
});

const call_paris = 'call get_weather {"city":"Paris"}';
const joined = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");

await check("chat: a completion", async () => {
  const completion = await create({ messages: user("Hello there") });
  assert.equal(completion.object, "chat.completion");
  assert.match(completion.id, /^chatcmpl-/);
  assert.equal(completion.choices.length, 1);
  const { message, finish_reason, logprobs } = completion.choices[0];
  assert.equal(message.role, "assistant");
  assert.equal(message.content, "You said: Hello there");
  assert.equal(message.refusal, null);
  assert.equal(finish_reason, "stop");
  assert.equal(logprobs, null);
  assert.equal(completion.usage.total_tokens, completion.usage.prompt_tokens + completion.usage.completion_tokens);
  assert.equal(completion.usage.completion_tokens, 4);
  assert.match(completion._request_id, /^req_/);
});

await check("chat: every role, parts, and fields that mean nothing here", async () => {
  const completion = await create({
    messages: [
      { role: "system", content: "Be brief." },
      { role: "developer", content: [{ type: "text", text: "Be kind." }] },
      { role: "user", content: "One", name: "ann" },
      { role: "assistant", content: [{ type: "text", text: "1" }] },
      { role: "user", content: [
        { type: "text", text: "Two" },
        { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=", detail: "low" } },
      ] },
    ],
    store: true, metadata: { a: "b" }, service_tier: "auto", user: "u1", seed: 1, temperature: 0.5, top_p: 0.9,
    frequency_penalty: 0, presence_penalty: 0, prompt_cache_key: "k", safety_identifier: "s", something_new: { x: 1 },
  });
  assert.equal(completion.choices[0].message.content, "You said: Two");
});

await check("chat: a stream", async () => {
  const chunks = await collect(await create({ messages: user("Hello there"), stream: true }));
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.equal(new Set(chunks.map((chunk) => chunk.created)).size, 1);
  assert.ok(chunks.every((chunk) => chunk.object === "chat.completion.chunk"));
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(joined(chunks), "You said: Hello there");
  assert.deepEqual(chunks.map((chunk) => chunk.choices[0].finish_reason).filter(Boolean), ["stop"]);
  assert.ok(chunks.length > 4);
});

await check("chat: a stream with its usage", async () => {
  const chunks = await collect(await create({ messages: user("Hi"), stream: true, stream_options: { include_usage: true } }));
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, 3);
  assert.ok(chunks.every((chunk) => chunk.usage === null));
});

await check("chat: the stream helper", async () => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: user("Hello there"), stream_options: { include_usage: true } });
  const deltas = [];
  stream.on("content.delta", ({ delta }) => deltas.push(delta));
  const completion = await stream.finalChatCompletion();
  assert.equal(completion.choices[0].message.content, "You said: Hello there");
  assert.equal(deltas.join(""), "You said: Hello there");
  assert.equal((await stream.totalUsage()).completion_tokens, 4);
});

await check("chat: several answers", async () => {
  const completion = await create({ messages: user("Hi"), n: 2 });
  assert.deepEqual(completion.choices.map((choice) => [choice.index, choice.message.content]), [[0, "You said: Hi"], [1, "You said: Hi"]]);
  const helped = await client.chat.completions.stream({ model: MODEL, messages: user("Hi"), n: 2 }).finalChatCompletion();
  assert.deepEqual(helped.choices.map((choice) => choice.message.content), ["You said: Hi", "You said: Hi"]);
});

await check("chat: an answer that is too long", async () => {
  const completion = await create({ messages: user("a b c d e f"), max_completion_tokens: 3 });
  assert.equal(completion.choices[0].finish_reason, "length");
  assert.equal(completion.choices[0].message.content.trim(), "You said: a");
});

await check("chat: a tool call and its result", async () => {
  const messages = user(call_paris);
  const first = await create({ messages, tools: [weather], tool_choice: "auto", parallel_tool_calls: true });
  assert.equal(first.choices[0].finish_reason, "tool_calls");
  const [call] = first.choices[0].message.tool_calls;
  assert.equal(call.type, "function");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
  messages.push(first.choices[0].message, { role: "tool", tool_call_id: call.id, content: "rain" });
  const second = await create({ messages, tools: [weather] });
  assert.equal(second.choices[0].message.content, "The tools said: rain");
});

await check("chat: tool calls side by side, streamed", async () => {
  const stream = client.chat.completions.stream({
    model: MODEL, tools: [weather], messages: user(`${call_paris}\ncall get_weather {"city":"Rome"}`),
  });
  const finished = [];
  stream.on("tool_calls.function.arguments.done", ({ name, arguments: text }) => finished.push([name, JSON.parse(text).city]));
  const completion = await stream.finalChatCompletion();
  assert.deepEqual(finished, [["get_weather", "Paris"], ["get_weather", "Rome"]]);
  assert.equal(completion.choices[0].finish_reason, "tool_calls");
  assert.equal(new Set(completion.choices[0].message.tool_calls.map((call) => call.id)).size, 2);
});

await check("chat: runTools", async () => {
  const calls = [];
  const runner = client.chat.completions.runTools({ model: MODEL, messages: user(call_paris), tools: [runnable(calls)] });
  assert.equal(await runner.finalContent(), "The tools said: sunny in Paris");
  assert.deepEqual(calls, ["Paris"]);
});

await check("chat: runTools, streamed", async () => {
  const calls = [];
  const runner = client.chat.completions.runTools({
    model: MODEL, stream: true, messages: user(`${call_paris}\ncall get_weather {"city":"Rome"}`), tools: [runnable(calls)],
  });
  assert.equal(await runner.finalContent(), "The tools said: sunny in Paris, sunny in Rome");
  assert.deepEqual(calls, ["Paris", "Rome"]);
});

await check("chat: an assistant with a tool of its own", async () => {
  const body = { model: "assistant/forecaster", messages: user('call look_outside {"city":"Oslo"}') };
  const completion = await create(body);
  assert.equal(completion.choices[0].finish_reason, "stop");
  assert.equal(completion.choices[0].message.tool_calls, undefined);
  assert.match(completion.choices[0].message.content, /The tools said: .*snow in Oslo/);
  const streamed = await client.chat.completions.stream(body).finalChatCompletion();
  assert.equal(streamed.choices[0].message.content, completion.choices[0].message.content);
});

await check("chat: an assistant with a tool of the client", async () => {
  const calls = [];
  const runner = client.chat.completions.runTools({ model: "assistant/forecaster", messages: user(call_paris), tools: [runnable(calls)] });
  assert.equal(await runner.finalContent(), "The tools said: sunny in Paris");
  assert.deepEqual(calls, ["Paris"]);
});

const City = z.object({ name: z.string(), people: z.number() });

await check("chat: parse", async () => {
  const completion = await client.chat.completions.parse({
    model: MODEL, messages: user('json {"name":"Paris","people":2100000}'), response_format: zodResponseFormat(City, "city"),
  });
  assert.deepEqual(completion.choices[0].message.parsed, { name: "Paris", people: 2100000 });
});

await check("chat: parse, streamed", async () => {
  const stream = client.chat.completions.stream({
    model: MODEL, messages: user('json {"name":"Paris","people":2100000}'), response_format: zodResponseFormat(City, "city"),
  });
  const completion = await stream.finalChatCompletion();
  assert.deepEqual(completion.choices[0].message.parsed, { name: "Paris", people: 2100000 });
});

await check("chat: the model without a network", async () => {
  const completion = await create({ model: "offline/demo", messages: user("Hello") });
  assert.ok(completion.choices[0].message.content.length > 0);
});

await check("chat: a stream that the client leaves", async () => {
  const stream = await create({ messages: user("slow 200"), stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta?.content) break;
  }
  assert.equal((await create({ messages: user("After") })).choices[0].message.content, "You said: After");
});

await check("completions: the old endpoint", async () => {
  const body = { model: MODEL, prompt: "Once upon" };
  const completion = await client.completions.create(body);
  assert.equal(completion.object, "text_completion");
  assert.equal(completion.choices[0].text, "You said: Once upon");
  assert.equal(completion.choices[0].finish_reason, "stop");
  const chunks = await collect(await client.completions.create({ ...body, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), "You said: Once upon");
});

done();
