// @anthropic-ai/sdk: messages, streams, tools, tokens, models, errors.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { MODEL, apiKey, baseURL, check, collect, done, failure } from "./check.mjs";

const root = baseURL.replace(/\/v1$/, "");
const client = new Anthropic({ baseURL: root, apiKey, maxRetries: 0 });
const body = (content, more = {}) => ({ model: MODEL, max_tokens: 500, messages: [{ role: "user", content }], ...more });
const types = (events) => events.map((event) => event.type);

const weather = {
  name: "get_weather", description: "The weather of a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const call_paris = 'call get_weather {"city":"Paris"}';

await check("anthropic: a message", async () => {
  const message = await client.messages.create(body("Hello there", { system: "Be brief.", temperature: 0.5, metadata: { user_id: "u" } }));
  assert.equal(message.type, "message");
  assert.match(message.id, /^msg_/);
  assert.equal(message.role, "assistant");
  assert.deepEqual(message.content.map((block) => [block.type, block.text]), [["text", "You said: Hello there"]]);
  assert.equal(message.stop_reason, "end_turn");
  assert.equal(message.stop_sequence, null);
  assert.equal(message.usage.output_tokens, 4);
  assert.ok(message.usage.input_tokens > 0);
  assert.match(message._request_id, /^req_/);
});

await check("anthropic: blocks of every kind", async () => {
  const message = await client.messages.create({ model: MODEL, max_tokens: 500, system: [{ type: "text", text: "Be brief." }], messages: [
    { role: "user", content: [
      { type: "text", text: "What is it?", cache_control: { type: "ephemeral" } },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } },
    ] },
    { role: "assistant", content: [
      { type: "thinking", thinking: "Hm.", signature: "c2ln" },
      { type: "text", text: "I look." }, { type: "tool_use", id: "toolu_1", name: "get_weather", input: { city: "Paris" } },
    ] },
    { role: "user", content: [
      { type: "tool_result", tool_use_id: "toolu_1", content: [{ type: "text", text: "rain" }] }, { type: "text", text: "Thanks" },
    ] },
  ], tools: [weather] });
  assert.equal(message.content.at(-1).text, "You said: Thanks");
});

await check("anthropic: the events of a stream", async () => {
  const events = await collect(await client.messages.create(body("Hello there", { stream: true })));
  assert.deepEqual(types(events).filter((type) => type !== "content_block_delta" && type !== "ping"),
    ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]);
  const text = events.filter((event) => event.type === "content_block_delta").map((event) => event.delta.text).join("");
  assert.equal(text, "You said: Hello there");
});

await check("anthropic: the stream helper", async () => {
  const stream = client.messages.stream(body("Hello there"));
  let text = "";
  stream.on("text", (delta) => { text += delta; });
  const message = await stream.finalMessage();
  assert.equal(text, "You said: Hello there");
  assert.equal(await stream.finalText(), text);
  assert.equal(message.stop_reason, "end_turn");
  assert.equal(message.usage.output_tokens, 4);
});

await check("anthropic: tools and their results", async () => {
  const messages = [{ role: "user", content: `${call_paris}\ncall get_weather {"city":"Rome"}` }];
  const first = await client.messages.create({ model: MODEL, max_tokens: 500, messages, tools: [weather], tool_choice: { type: "auto" } });
  assert.equal(first.stop_reason, "tool_use");
  const uses = first.content.filter((block) => block.type === "tool_use");
  assert.deepEqual(uses.map((use) => use.input), [{ city: "Paris" }, { city: "Rome" }]);
  messages.push({ role: "assistant", content: first.content }, {
    role: "user", content: uses.map((use) => ({ type: "tool_result", tool_use_id: use.id, content: use.input.city })),
  });
  const second = await client.messages.create({ model: MODEL, max_tokens: 500, messages, tools: [weather] });
  assert.equal(second.content[0].text, "The tools said: Paris, Rome");
});

await check("anthropic: tools, streamed", async () => {
  const stream = client.messages.stream(body(`${call_paris}\ncall get_weather {"city":"Rome"}`, { tools: [weather] }));
  const pieces = [];
  stream.on("inputJson", (piece) => pieces.push(piece));
  const message = await stream.finalMessage();
  assert.equal(message.stop_reason, "tool_use");
  assert.deepEqual(message.content.map((block) => block.input), [{ city: "Paris" }, { city: "Rome" }]);
  assert.equal(pieces.join(""), '{"city":"Paris"}{"city":"Rome"}');
});

await check("anthropic: thinking", async () => {
  const asked = body("think", { max_tokens: 4000, thinking: { type: "enabled", budget_tokens: 1024 } });
  const message = await client.messages.stream(asked).finalMessage();
  assert.deepEqual(message.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(message.content[0].thinking, "Let me think.");
});

await check("anthropic: an answer that is too long", async () => {
  const message = await client.messages.create(body("a b c d e f", { max_tokens: 3 }));
  assert.equal(message.stop_reason, "max_tokens");
  assert.equal(message.content[0].text.trim(), "You said: a");
});

await check("anthropic: an assistant of the server", async () => {
  const asked = body('call look_outside {"city":"Oslo"}', { model: "assistant/forecaster" });
  assert.match((await client.messages.create(asked)).content.at(-1).text, /snow in Oslo/);
  assert.match(await client.messages.stream(asked).finalText(), /snow in Oslo/);
});

await check("anthropic: tokens", async () => {
  const { input_tokens } = await client.messages.countTokens({ model: MODEL, messages: [{ role: "user", content: "Hello there" }] });
  assert.ok(input_tokens > 0);
});

await check("anthropic: models", async () => {
  const models = await collect(client.models.list({ limit: 5 }));
  const model = models.find((one) => one.id === MODEL);
  assert.equal(model.type, "model");
  assert.ok(!Number.isNaN(Date.parse(model.created_at)));
});

await check("anthropic: errors", async () => {
  const wrong = new Anthropic({ baseURL: root, apiKey: "pl_live_wrong", maxRetries: 0 });
  const key = await failure(wrong.messages.create(body("Hi")), Anthropic.AuthenticationError);
  assert.equal(key.error.type, "error");
  assert.equal(key.type, "authentication_error");
  assert.match(key.requestID, /^req_/);
  const model = await failure(client.messages.create(body("Hi", { model: "openai/nonesuch" })), Anthropic.NotFoundError);
  assert.equal(model.type, "not_found_error");
  const request = await failure(client.messages.create({ model: MODEL, messages: [] , max_tokens: "many" }), Anthropic.BadRequestError);
  assert.equal(request.type, "invalid_request_error");
});

await check("anthropic: an error in a stream", async () => {
  const error = await failure(client.messages.create(body("cut", { stream: true })).then(collect), Anthropic.APIError);
  assert.equal(error.type, "api_error");
});

done();
