// The Assistants family with the openai package: assistants, threads, messages, runs, steps, and the streams of runs.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { MODEL, apiKey, baseURL, check, collect, done, failure, poll } from "./check.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const { assistants, threads } = client.beta;
const POLL = { pollIntervalMs: 20 };

const weather = {
  type: "function",
  function: {
    name: "get_weather", description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const call_paris = 'call get_weather {"city":"Paris"}';
const text_of = (message) => message.content[0].text.value;
const thread_with = (content) => threads.create({ messages: [{ role: "user", content }] });

let helper = { id: "asst_none" };

const calls_of = (run) => run.required_action.submit_tool_outputs.tool_calls;
const outputs_for = (run, output) => ({ tool_outputs: calls_of(run).map((call) => ({ tool_call_id: call.id, output })) });

await check("assistants: create, list, change, delete", async () => {
  helper = await assistants.create({
    model: MODEL, name: "Helper", instructions: "Help.", tools: [weather], metadata: { team: "blue" },
  });
  assert.equal(helper.object, "assistant");
  assert.equal(helper.name, "Helper");
  assert.deepEqual(helper.tools[0].function.name, "get_weather");
  const other = await assistants.create({ model: MODEL, name: "Helper" });
  assert.equal(other.name, "Helper");
  const listed = (await collect(assistants.list({ limit: 1 }))).map((assistant) => assistant.id);
  assert.ok(listed.includes(helper.id) && listed.includes(other.id));
  assert.equal((await assistants.update(other.id, { name: null, instructions: "Other." })).instructions, "Other.");
  assert.equal((await assistants.retrieve(other.id)).instructions, "Other.");
  assert.equal((await assistants.delete(other.id)).deleted, true);
  await failure(assistants.retrieve(other.id), OpenAI.NotFoundError);
});

await check("assistants: tools that are not here", async () => {
  await failure(assistants.create({ model: MODEL, tools: [{ type: "code_interpreter" }] }), OpenAI.BadRequestError);
});

await check("threads: create, change, delete", async () => {
  const thread = await threads.create({ metadata: { a: "1" } });
  assert.equal(thread.object, "thread");
  assert.deepEqual((await threads.update(thread.id, { metadata: { a: "2" } })).metadata, { a: "2" });
  assert.deepEqual((await threads.retrieve(thread.id)).metadata, { a: "2" });
  assert.equal((await threads.delete(thread.id)).deleted, true);
  await failure(threads.retrieve(thread.id), OpenAI.NotFoundError);
});

await check("messages: create, list, change, delete", async () => {
  const { id } = await thread_with("one");
  const two = await threads.messages.create(id, { role: "user", content: [{ type: "text", text: "two" }], metadata: { n: "2" } });
  assert.equal(two.object, "thread.message");
  await threads.messages.create(id, { role: "assistant", content: "three" });
  const said = async (order) => (await collect(threads.messages.list(id, { limit: 2, order }))).map(text_of);
  assert.deepEqual(await said("asc"), ["one", "two", "three"]);
  assert.deepEqual(await said("desc"), ["three", "two", "one"]);
  assert.equal(text_of(await threads.messages.retrieve(two.id, { thread_id: id })), "two");
  const changed = await threads.messages.update(two.id, { thread_id: id, metadata: { n: "II" } });
  assert.deepEqual(changed.metadata, { n: "II" });
  await threads.messages.delete(two.id, { thread_id: id });
  assert.deepEqual(await said("asc"), ["one", "three"]);
});

await check("runs: createAndPoll", async () => {
  const { id } = await thread_with("Hello there");
  const run = await threads.runs.createAndPoll(id, { assistant_id: helper.id, metadata: { m: "1" } }, POLL);
  assert.equal(run.status, "completed");
  assert.equal(run.object, "thread.run");
  assert.deepEqual(run.metadata, { m: "1" });
  assert.equal(run.usage.completion_tokens, 4);
  const messages = await threads.messages.list(id);
  assert.equal(text_of(messages.data[0]), "You said: Hello there");
  assert.equal(messages.data[0].run_id, run.id);
  assert.deepEqual((await collect(threads.runs.list(id))).map((one) => one.id), [run.id]);
  assert.deepEqual((await threads.runs.update(run.id, { thread_id: id, metadata: { m: "2" } })).metadata, { m: "2" });
});

await check("runs: an assistant of the server's scripts, with a tool of its own", async () => {
  const run = await threads.createAndRunPoll({
    assistant_id: "asst_forecaster", thread: { messages: [{ role: "user", content: 'call look_outside {"city":"Oslo"}' }] },
  }, POLL);
  assert.equal(run.status, "completed");
  assert.match(text_of((await threads.messages.list(run.thread_id)).data[0]), /The tools said: .*snow in Oslo/);
  const steps = await collect(threads.runs.steps.list(run.id, { thread_id: run.thread_id, order: "asc" }));
  assert.deepEqual(steps.map((step) => step.type), ["tool_calls", "message_creation"]);
  assert.equal(steps[0].step_details.tool_calls[0].function.name, "look_outside");
  const one = await threads.runs.steps.retrieve(steps[1].id, { thread_id: run.thread_id, run_id: run.id });
  assert.equal(one.status, "completed");
});

await check("runs: tool outputs, polled", async () => {
  const run = await threads.createAndRunPoll({
    assistant_id: helper.id, thread: { messages: [{ role: "user", content: `${call_paris}\ncall get_weather {"city":"Rome"}` }] },
  }, POLL);
  assert.equal(run.status, "requires_action");
  assert.deepEqual(calls_of(run).map((call) => JSON.parse(call.function.arguments).city), ["Paris", "Rome"]);
  const where = { thread_id: run.thread_id };
  const some = threads.runs.submitToolOutputs(run.id, { ...where, tool_outputs: [{ tool_call_id: calls_of(run)[0].id, output: "x" }] });
  await failure(some, OpenAI.BadRequestError);
  const ended = await threads.runs.submitToolOutputsAndPoll(run.id, { ...where, ...outputs_for(run, "rain") }, POLL);
  assert.equal(ended.status, "completed");
  assert.equal(text_of((await threads.messages.list(run.thread_id)).data[0]), "The tools said: rain, rain");
  await failure(threads.runs.submitToolOutputs(run.id, { ...where, ...outputs_for(run, "again") }), OpenAI.BadRequestError);
});

await check("runs: a stream", async () => {
  const { id } = await thread_with("Hello there");
  const stream = threads.runs.stream(id, { assistant_id: helper.id });
  const names = [];
  let text = "";
  stream.on("event", ({ event }) => names.push(event));
  stream.on("textDelta", (delta) => { text += delta.value ?? ""; });
  const run = await stream.finalRun();
  assert.equal(run.status, "completed");
  assert.equal(text, "You said: Hello there");
  assert.deepEqual(names.filter((name) => name !== "thread.message.delta"), [
    "thread.run.created", "thread.run.queued", "thread.run.in_progress", "thread.run.step.created", "thread.run.step.in_progress",
    "thread.message.created", "thread.message.in_progress", "thread.message.completed", "thread.run.step.completed", "thread.run.completed",
  ]);
  const [message] = await stream.finalMessages();
  assert.equal(text_of(message), text);
  assert.equal(text_of(await threads.messages.retrieve(message.id, { thread_id: id })), text);
  const [step] = await stream.finalRunSteps();
  assert.equal(step.step_details.message_creation.message_id, message.id);
});

await check("runs: a stream with tool outputs", async () => {
  const first = threads.createAndRunStream({
    assistant_id: helper.id, thread: { messages: [{ role: "user", content: `${call_paris}\ncall get_weather {"city":"Rome"}` }] },
  });
  const made = [];
  first.on("toolCallDone", (call) => made.push(JSON.parse(call.function.arguments).city));
  const run = await first.finalRun();
  assert.equal(run.status, "requires_action");
  assert.deepEqual(made, ["Paris", "Rome"]);
  const second = threads.runs.submitToolOutputsStream(run.id, { thread_id: run.thread_id, ...outputs_for(run, "rain") });
  let text = "";
  second.on("textDelta", (delta) => { text += delta.value ?? ""; });
  assert.equal((await second.finalRun()).status, "completed");
  assert.equal(text, "The tools said: rain, rain");
});

await check("runs: a stream of an assistant with a tool of its own", async () => {
  const stream = threads.createAndRunStream({
    assistant_id: "asst_forecaster", thread: { messages: [{ role: "user", content: 'call look_outside {"city":"Oslo"}' }] },
  });
  assert.equal((await stream.finalRun()).status, "completed");
  assert.deepEqual((await stream.finalRunSteps()).map((step) => step.type), ["tool_calls", "message_creation"]);
  assert.match(text_of((await stream.finalMessages())[0]), /snow in Oslo/);
});

await check("runs: cancel, and one at a time", async () => {
  const { id } = await thread_with("slow 1000");
  const run = await threads.runs.create(id, { assistant_id: helper.id });
  assert.ok(["queued", "in_progress"].includes(run.status), run.status);
  const second = await failure(threads.runs.create(id, { assistant_id: helper.id }), OpenAI.BadRequestError);
  assert.equal(second.code, "thread_locked");
  await failure(threads.messages.create(id, { role: "user", content: "x" }), OpenAI.BadRequestError);
  const cancelling = await threads.runs.cancel(run.id, { thread_id: id });
  assert.ok(["cancelling", "cancelled"].includes(cancelling.status), cancelling.status);
  const ended = await poll(() => threads.runs.retrieve(run.id, { thread_id: id }), ({ status }) => status === "cancelled");
  assert.ok(ended.cancelled_at > 0);
  await failure(threads.runs.cancel(run.id, { thread_id: id }), OpenAI.BadRequestError);
});

await check("runs: one that fails", async () => {
  const { id } = await thread_with("fail 400");
  const run = await threads.runs.createAndPoll(id, { assistant_id: helper.id }, POLL);
  assert.equal(run.status, "failed");
  assert.match(run.last_error.message, /told to fail/);
});

await check("runs: what is somebody else's is not there", async () => {
  const other = new OpenAI({ baseURL, apiKey: process.env.SCOPED_KEY, maxRetries: 0 }).beta;
  const { id } = await thread_with("Mine");
  await failure(other.threads.retrieve(id), OpenAI.NotFoundError);
  await failure(collect(other.threads.messages.list(id)), OpenAI.NotFoundError);
  await failure(other.threads.runs.create(id, { assistant_id: "asst_forecaster" }), OpenAI.NotFoundError);
  await failure(other.assistants.retrieve(helper.id), OpenAI.NotFoundError);
});

await check("runs: streams that do not end well", async () => {
  const last_of = async (content, more) => {
    const { id } = await thread_with(content);
    const events = await collect(await threads.runs.create(id, { assistant_id: helper.id, stream: true, ...more }));
    return events.filter(({ event }) => event.startsWith("thread.run.") && !event.startsWith("thread.run.step.")).at(-1);
  };
  const failed = await last_of("fail 400");
  assert.equal(failed.event, "thread.run.failed");
  assert.match(failed.data.last_error.message, /told to fail/);
  assert.equal((await last_of("cut")).event, "thread.run.failed");
  const short = await last_of("long 300", { max_completion_tokens: 256 });
  assert.equal(short.event, "thread.run.incomplete");
  assert.equal(short.data.incomplete_details.reason, "max_completion_tokens");
});

await check("runs: a stream whose run is cancelled", async () => {
  const { id } = await thread_with("slow 1000");
  const stream = threads.runs.stream(id, { assistant_id: helper.id });
  const names = [];
  let is_asked = false;
  stream.on("event", ({ event }) => names.push(event));
  stream.on("textDelta", () => {
    if (!is_asked) threads.runs.cancel(stream.currentRun().id, { thread_id: id }).catch(() => stream.abort());
    is_asked = true;
  });
  assert.equal((await stream.finalRun()).status, "cancelled");
  assert.equal(names.at(-1), "thread.run.cancelled");
});

await check("runs: options of one run", async () => {
  const { id } = await thread_with("Hi");
  const run = await threads.runs.createAndPoll(id, {
    assistant_id: helper.id, model: "openai/vendor/model-with-slash", instructions: "Other.", temperature: 0.5,
    additional_messages: [{ role: "user", content: "Added" }], tool_choice: "none",
    truncation_strategy: { type: "last_messages", last_messages: 5 },
  }, POLL);
  assert.equal(run.status, "completed");
  assert.equal(run.model, "openai/vendor/model-with-slash");
  assert.equal(run.instructions, "Other.");
  assert.equal(text_of((await threads.messages.list(id)).data[0]), "You said: Added");
});

done();
