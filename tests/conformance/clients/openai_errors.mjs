// Errors, limits and repeated requests with the openai package.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { MODEL, apiKey, baseURL, check, collect, done, failure } from "./check.mjs";

const client_of = (key, options = {}) => new OpenAI({ baseURL, apiKey: key, maxRetries: 0, ...options });
const client = client_of(apiKey);
const user = (content) => [{ role: "user", content }];
const ask = (who, content = "Hi", more = {}) => who.chat.completions.create({ model: MODEL, messages: user(content), ...more });

// A fetch that counts, and lets `change` replace an answer.
function counted(change = (response) => response) {
  const seen = [];
  const fetch_and_count = async (url, init) => {
    const response = await fetch(url, init);
    seen.push({ status: response.status, text: await response.clone().text(), headers: new Headers(init.headers) });
    return change(response, seen.length);
  };
  return { seen, fetch: fetch_and_count };
}

await check("errors: a wrong key", async () => {
  const { seen, fetch } = counted();
  const error = await failure(ask(client_of("pl_live_wrong", { fetch, maxRetries: 2 })), OpenAI.AuthenticationError);
  assert.equal(error.status, 401);
  assert.equal(error.code, "invalid_api_key");
  assert.match(error.requestID, /^req_/);
  assert.equal(seen.length, 1);
});

await check("errors: a model that the key may not use", async () => {
  const error = await failure(ask(client_of(process.env.SCOPED_KEY)), OpenAI.PermissionDeniedError);
  assert.equal(error.code, "model_not_allowed");
});

await check("errors: a model, a path and a thing that there is not", async () => {
  const model = await failure(ask(client, "Hi", { model: "openai/nonesuch" }), OpenAI.NotFoundError);
  assert.equal(model.code, "model_not_found");
  assert.match(model.requestID, /^req_/);
  const path = await failure(client.get("/nonesuch"), OpenAI.NotFoundError);
  assert.match(path.message, /Invalid URL \(GET \/v1\/nonesuch\)/);
  const thing = await failure(client.responses.retrieve("resp_nonesuch"), OpenAI.NotFoundError);
  assert.equal(thing.type, "invalid_request_error");
});

await check("errors: an assistant that there is not", async () => {
  const error = await failure(ask(client, "Hi", { model: "assistant/nonesuch" }), OpenAI.NotFoundError);
  assert.equal(error.code, "model_not_found");
});

await check("errors: requests that are wrong", async () => {
  for (const [body, param] of [
    [{ model: MODEL }, "messages"],
    [{ messages: user("Hi") }, "model"],
    [{ model: MODEL, messages: user("Hi"), temperature: "hot" }, "temperature"],
    [{ model: MODEL, messages: "Hi" }, "messages"],
    [{ model: MODEL, messages: [{ role: "moon", content: "Hi" }] }, /^messages/],
  ]) {
    const error = await failure(client.chat.completions.create(body), OpenAI.BadRequestError);
    assert.equal(error.type, "invalid_request_error");
    if (param instanceof RegExp) assert.match(String(error.param), param);
    else assert.equal(error.param, param, error.message);
    assert.match(error.requestID, /^req_/);
  }
});

await check("errors: a body that is not JSON", async () => {
  const response = await fetch(`${baseURL}/chat/completions`, {
    method: "POST", headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" }, body: "{oops",
  });
  assert.equal(response.status, 400);
  assert.equal((await response.json()).error.code, "invalid_json");
});

await check("errors: more requests than the key may make", async () => {
  const limited = client_of(process.env.LIMITED_KEY);
  let error;
  for (let number = 0; number < 5 && !error; number += 1) {
    error = await ask(limited).then(() => undefined, (thrown) => thrown);
  }
  assert.ok(error instanceof OpenAI.RateLimitError, String(error));
  assert.equal(error.code, "rate_limit_exceeded");
  assert.ok(Number(error.headers.get("retry-after")) >= 1);
  assert.ok(Number(error.headers.get("x-ratelimit-limit-requests")) >= 1);
});

await check("errors: no credits, and no second try", async () => {
  const { seen, fetch } = counted();
  const error = await failure(ask(client_of(process.env.POOR_KEY, { fetch, maxRetries: 2 })), OpenAI.RateLimitError);
  assert.equal(error.code, "insufficient_quota");
  assert.equal(seen.length, 1);
});

await check("errors: what the provider refuses", async () => {
  const error = await failure(ask(client, "fail 400"), OpenAI.BadRequestError);
  assert.equal(error.type, "invalid_request_error");
  const server = await failure(ask(client, "fail 500"), OpenAI.InternalServerError);
  assert.ok(server.status >= 500);
  assert.match(server.requestID, /^req_/);
});

await check("errors: the provider's key is wrong, which is not the client's fault", async () => {
  const { seen, fetch } = counted();
  const error = await failure(ask(client_of(apiKey, { fetch, maxRetries: 2 }), "fail 401"), OpenAI.InternalServerError);
  assert.equal(error.status, 502);
  assert.equal(seen.length, 1);
});

await check("errors: a stream that is cut says so", async () => {
  const error = await failure(ask(client, "cut", { stream: true }).then(collect), OpenAI.APIError);
  assert.equal(error.code, "stream_interrupted");
});

await check("repeats: a request with an Idempotency-Key is answered once", async () => {
  const { seen, fetch } = counted();
  const once = client_of(apiKey, { fetch });
  const options = { headers: { "Idempotency-Key": `once-${Date.now()}` } };
  const body = { model: MODEL, messages: user("Once") };
  const first = await once.chat.completions.create(body, options);
  const second = await once.chat.completions.create(body, options);
  assert.equal(first.id, second.id);
  assert.equal(seen[0].text, seen[1].text);
  const other = once.chat.completions.create({ ...body, messages: user("Other") }, options);
  const error = await failure(other, OpenAI.APIError);
  assert.ok(error.status >= 400 && error.status < 500, String(error.status));
});

await check("repeats: an answer that was lost is had again by the client's own retry", async () => {
  const { seen, fetch } = counted((response, number) =>
    number === 1 ? new Response("{}", { status: 503, headers: { "retry-after-ms": "1" } }) : response);
  const body = { model: MODEL, messages: user("Lost") };
  const completion = await client_of(apiKey, { fetch, maxRetries: 1 }).chat.completions.create(
    body, { headers: { "Idempotency-Key": `lost-${Date.now()}` } });
  assert.equal(seen.length, 2);
  assert.equal(seen[1].headers.get("x-stainless-retry-count"), "1");
  assert.equal(JSON.parse(seen[0].text).id, completion.id);
});

done();
