// Responses and conversations with the openai package.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { MODEL, apiKey, baseURL, check, collect, done, failure, poll } from "./check.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const create = (body, options) => client.responses.create({ model: MODEL, ...body }, options);
const types = (items) => items.map((item) => item.type);
const texts_of = (items) => items.map((item) => item.content[0].text);
const has_ended = (response) => !["queued", "in_progress"].includes(response.status);

const weather = {
  type: "function", name: "get_weather", description: "The weather of a city", strict: true,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};
const call_paris = 'call get_weather {"city":"Paris"}';

await check("responses: an answer", async () => {
  const response = await create({ input: "Hello there", instructions: "Be brief.", metadata: { a: "b" } });
  assert.equal(response.object, "response");
  assert.match(response.id, /^resp_/);
  assert.equal(response.status, "completed");
  assert.equal(response.output_text, "You said: Hello there");
  assert.equal(response.instructions, "Be brief.");
  assert.deepEqual(response.metadata, { a: "b" });
  assert.deepEqual(types(response.output), ["message"]);
  assert.equal(response.usage.output_tokens, 4);
  assert.equal(response.usage.total_tokens, response.usage.input_tokens + 4);
});

// What Open Responses wants to be there always.
const KEYS = `id object created_at completed_at status incomplete_details model previous_response_id instructions output error tools
  tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs temperature reasoning user usage
  max_output_tokens max_tool_calls store background service_tier metadata safety_identifier prompt_cache_key`.split(/\s+/);

await check("responses: every key of Open Responses", async () => {
  const response = await create({ input: "Hi" });
  assert.equal(KEYS.length, 32);
  assert.deepEqual(KEYS.filter((key) => response[key] === undefined), []);
});

await check("responses: items of every kind as input", async () => {
  const response = await create({ input: [
    { role: "developer", content: "Be kind." },
    { role: "user", content: [
      { type: "input_text", text: "What is it?" }, { type: "input_image", image_url: "data:image/png;base64,iVBORw0KGgo=", detail: "low" },
    ] },
    { type: "reasoning", id: "rs_1", summary: [] },
    { type: "message", role: "assistant", id: "msg_1", status: "completed", content: [
      { type: "output_text", text: "A moon.", annotations: [] },
    ] },
    { type: "function_call", id: "fc_1", call_id: "call_1", name: "get_weather", arguments: "{}", status: "completed" },
    { type: "function_call_output", call_id: "call_1", output: "clear" },
    { role: "user", content: "Thanks" },
  ] });
  assert.equal(response.output_text, "You said: Thanks");
});

await check("responses: a stream", async () => {
  const events = await collect(await create({ input: "Hello there", stream: true }));
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, position) => position));
  const order = types(events).filter((type) => type !== "response.output_text.delta");
  assert.deepEqual(order, [
    "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
  ]);
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.equal(deltas.map((event) => event.delta).join(""), "You said: Hello there");
  assert.ok(deltas.length > 1);
});

await check("responses: the stream helper", async () => {
  const stream = client.responses.stream({ model: MODEL, input: "Hello there" });
  let snapshot = "";
  stream.on("response.output_text.delta", (event) => { snapshot = event.snapshot; });
  const response = await stream.finalResponse();
  assert.equal(snapshot, "You said: Hello there");
  assert.equal(response.output_text, "You said: Hello there");
  assert.equal(response.status, "completed");
});

await check("responses: a function call, continued by previous_response_id", async () => {
  const first = await create({ input: call_paris, tools: [weather] });
  const call = first.output.find((item) => item.type === "function_call");
  assert.equal(call.name, "get_weather");
  assert.deepEqual(JSON.parse(call.arguments), { city: "Paris" });
  const second = await create({
    previous_response_id: first.id, tools: [weather], input: [{ type: "function_call_output", call_id: call.call_id, output: "rain" }],
  });
  assert.equal(second.output_text, "The tools said: rain");
  assert.equal(second.previous_response_id, first.id);
});

await check("responses: function calls side by side, streamed, continued by items", async () => {
  const input = [{ role: "user", content: `${call_paris}\ncall get_weather {"city":"Rome"}` }];
  const first = await client.responses.stream({ model: MODEL, input, tools: [weather], store: false }).finalResponse();
  const calls = first.output.filter((item) => item.type === "function_call");
  assert.deepEqual(calls.map((call) => call.parsed_arguments), [{ city: "Paris" }, { city: "Rome" }]);
  input.push(...first.output.map(({ parsed_arguments, ...item }) => item));
  for (const call of calls) input.push({ type: "function_call_output", call_id: call.call_id, output: call.parsed_arguments.city });
  assert.equal((await create({ input, tools: [weather], store: false })).output_text, "The tools said: Paris, Rome");
});

await check("responses: a reference to an item of an earlier one", async () => {
  const first = await create({ input: "One" });
  const second = await create({ input: [
    { role: "user", content: "One" }, { type: "item_reference", id: first.output[0].id }, { role: "user", content: "Two" },
  ] });
  assert.equal(second.output_text, "You said: Two");
  await failure(create({ input: [{ type: "item_reference", id: "msg_nonesuch" }, { role: "user", content: "Two" }] }), OpenAI.APIError);
});

await check("responses: parse", async () => {
  const City = z.object({ name: z.string(), people: z.number() });
  const body = { model: MODEL, input: 'json {"name":"Paris","people":2100000}', text: { format: zodTextFormat(City, "city") } };
  assert.deepEqual((await client.responses.parse(body)).output_parsed, { name: "Paris", people: 2100000 });
  assert.deepEqual((await client.responses.stream(body).finalResponse()).output_parsed, { name: "Paris", people: 2100000 });
});

await check("responses: an answer that is too long", async () => {
  const response = await create({ input: "long 40", max_output_tokens: 16 });
  assert.equal(response.status, "incomplete");
  assert.equal(response.incomplete_details.reason, "max_output_tokens");
  assert.match(response.output_text, /^word1 /);
});

await check("responses: an assistant", async () => {
  const body = { model: "assistant/forecaster", input: 'call look_outside {"city":"Oslo"}' };
  const response = await create(body);
  assert.match(response.output_text, /The tools said: .*snow in Oslo/);
  const streamed = await client.responses.stream(body).finalResponse();
  assert.equal(streamed.output_text, response.output_text);
});

await check("responses: reasoning", async () => {
  const response = await client.responses.stream({ model: MODEL, input: "think" }).finalResponse();
  assert.deepEqual(types(response.output), ["reasoning", "message"]);
  assert.equal(response.output_text, "You said: think");
});

await check("responses: retrieve, input items, delete", async () => {
  const { id, output_text } = await create({ input: "Keep me" });
  const kept = await client.responses.retrieve(id);
  assert.equal(kept.id, id);
  assert.equal(kept.output_text, output_text);
  const items = await collect(client.responses.inputItems.list(id, { limit: 1 }));
  assert.equal(items.length, 1);
  assert.equal(items[0].content[0].text, "Keep me");
  await client.responses.delete(id);
  await failure(client.responses.retrieve(id), OpenAI.NotFoundError);
});

await check("responses: input items page by page", async () => {
  const input = ["a", "b", "c"].map((content) => ({ role: "user", content }));
  const { id } = await create({ input });
  const said = async (order) => texts_of(await collect(client.responses.inputItems.list(id, { limit: 2, order })));
  assert.deepEqual(await said("asc"), ["a", "b", "c"]);
  assert.deepEqual(await said("desc"), ["c", "b", "a"]);
});

await check("responses: not stored", async () => {
  const response = await create({ input: "Forget me", store: false });
  assert.equal(response.output_text, "You said: Forget me");
  assert.equal(response.store, false);
  await failure(client.responses.retrieve(response.id), OpenAI.NotFoundError);
});

await check("responses: in the background", async () => {
  const begun = await create({ input: "slow 10", background: true });
  assert.ok(["queued", "in_progress"].includes(begun.status), begun.status);
  const ended = await poll(() => client.responses.retrieve(begun.id), has_ended);
  assert.equal(ended.status, "completed");
  assert.match(ended.output_text, /^word1 .*word10 $/);
  assert.equal(ended.background, true);
});

await check("responses: cancelled in the background", async () => {
  const begun = await create({ input: "slow 1000", background: true });
  await client.responses.cancel(begun.id);
  const ended = await poll(() => client.responses.retrieve(begun.id), has_ended);
  assert.equal(ended.status, "cancelled");
});

await check("responses: a background stream that is left and resumed", async () => {
  const first = [];
  for await (const event of await create({ input: "slow 60", background: true, stream: true })) {
    first.push(event);
    if (event.type === "response.output_text.delta") break;
  }
  const id = first[0].response.id;
  const last = first.at(-1).sequence_number;
  const rest = await collect(await client.responses.retrieve(id, { stream: true, starting_after: last }));
  assert.equal(rest[0].sequence_number, last + 1);
  assert.equal(rest.at(-1).type, "response.completed");
  const all = [...first, ...rest];
  assert.deepEqual(all.map((event) => event.sequence_number), all.map((_, position) => position));
  const text = all.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
  assert.equal(text, rest.at(-1).response.output[0].content[0].text);
  const replayed = client.responses.stream({ response_id: id, starting_after: last });
  assert.equal((await replayed.finalResponse()).output_text, text);
});

await check("responses: in a conversation", async () => {
  const conversation = await client.conversations.create();
  await create({ conversation: conversation.id, input: "One" });
  const second = await create({ conversation: { id: conversation.id }, input: "Two" });
  assert.equal(second.conversation.id, conversation.id);
  const items = await collect(client.conversations.items.list(conversation.id, { order: "asc" }));
  assert.deepEqual(texts_of(items), ["One", "You said: One", "Two", "You said: Two"]);
});

await check("responses: what may not be", async () => {
  const both = create({ input: "Hi", previous_response_id: "resp_x", conversation: "conv_x" });
  assert.equal((await failure(both, OpenAI.BadRequestError)).type, "invalid_request_error");
  await failure(create({ input: "Hi", previous_response_id: "resp_nonesuch" }), OpenAI.APIError);
  await failure(create({ input: [{ role: "moon", content: "Hi" }] }), OpenAI.BadRequestError);
  const tools = [{ type: "computer_use_preview", display_width: 1, display_height: 1, environment: "linux" }];
  await failure(create({ input: "Hi", tools }), OpenAI.BadRequestError);
});

await check("responses: what is somebody else's is not there", async () => {
  const other = new OpenAI({ baseURL, apiKey: process.env.SCOPED_KEY, maxRetries: 0 });
  const conversation = await client.conversations.create();
  const mine = await create({ input: "Mine", conversation: conversation.id });
  await failure(other.responses.retrieve(mine.id), OpenAI.NotFoundError);
  await failure(other.responses.delete(mine.id), OpenAI.NotFoundError);
  await failure(other.conversations.retrieve(conversation.id), OpenAI.NotFoundError);
  await failure(other.responses.create({ model: "offline/demo", input: "Hi", previous_response_id: mine.id }), OpenAI.APIError);
  assert.equal((await client.responses.retrieve(mine.id)).output_text, "You said: Mine");
});

await check("responses: only what runs in the background can be cancelled", async () => {
  const { id } = await create({ input: "Hi" });
  await failure(client.responses.cancel(id), OpenAI.BadRequestError);
});

await check("responses: one at a time in a conversation", async () => {
  const conversation = await client.conversations.create();
  const first = await create({ input: "slow 1000", conversation: conversation.id, background: true });
  await failure(create({ input: "Hi", conversation: conversation.id }), OpenAI.BadRequestError);
  await client.responses.cancel(first.id);
  await poll(() => client.responses.retrieve(first.id), has_ended);
  assert.equal((await create({ input: "Hi", conversation: conversation.id })).output_text, "You said: Hi");
});

await check("responses: a failure in a stream", async () => {
  const told = await create({ input: "fail 400", stream: true }).then(collect).then(
    (events) => events.at(-1).response?.error?.message, (error) => error.message);
  assert.match(told, /told to fail/);
});

await check("responses: a stream that is cut says that it failed", async () => {
  const events = await collect(await create({ input: "cut", stream: true }));
  const last = events.at(-1);
  assert.equal(last.type, "response.failed");
  assert.equal(last.response.status, "failed");
  assert.ok(last.response.error.message.length > 0);
  assert.equal((await client.responses.retrieve(last.response.id)).status, "failed");
});

await check("responses: a stream that is too long says so", async () => {
  const stream = client.responses.stream({ model: MODEL, input: "long 40", max_output_tokens: 16 });
  const response = await stream.finalResponse();
  assert.equal(response.status, "incomplete");
  assert.match(response.output_text, /^word1 .*word16 $/);
});

await check("responses: tokens of an input", async () => {
  const counted = await client.responses.inputTokens.count({ model: MODEL, input: "Hello there" });
  assert.equal(counted.object, "response.input_tokens");
  assert.ok(counted.input_tokens > 0);
});

await check("conversations: create, change, delete", async () => {
  const created = await client.conversations.create({
    metadata: { topic: "moon" }, items: [{ type: "message", role: "user", content: "Hello" }],
  });
  assert.equal(created.object, "conversation");
  assert.match(created.id, /^conv_/);
  assert.deepEqual((await client.conversations.retrieve(created.id)).metadata, { topic: "moon" });
  assert.deepEqual((await client.conversations.update(created.id, { metadata: { topic: "sun" } })).metadata, { topic: "sun" });
  const deleted = await client.conversations.delete(created.id);
  assert.deepEqual(deleted, { id: created.id, object: "conversation.deleted", deleted: true });
  await failure(client.conversations.retrieve(created.id), OpenAI.NotFoundError);
});

await check("conversations: items", async () => {
  const { id } = await client.conversations.create();
  const added = await client.conversations.items.create(id, { items: ["a", "b", "c"].map((text) => ({
    type: "message", role: "user", content: [{ type: "input_text", text }],
  })) });
  assert.equal(added.data.length, 3);
  const texts = async () => texts_of(await collect(client.conversations.items.list(id, { order: "asc", limit: 2 })));
  assert.deepEqual(await texts(), ["a", "b", "c"]);
  const one = await client.conversations.items.retrieve(added.data[1].id, { conversation_id: id });
  assert.equal(one.content[0].text, "b");
  assert.equal((await client.conversations.items.delete(one.id, { conversation_id: id })).id, id);
  assert.deepEqual(await texts(), ["a", "c"]);
  await failure(client.conversations.items.retrieve(one.id, { conversation_id: id }), OpenAI.NotFoundError);
});

done();
