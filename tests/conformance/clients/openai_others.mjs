// Models, embeddings and images with the openai package.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { MODEL, apiKey, baseURL, check, collect, done, failure } from "./check.mjs";

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const EMBEDDER = "openai/text-embedding-3-small";

await check("models: the list", async () => {
  const models = await collect(await client.models.list());
  const ids = models.map((model) => model.id);
  for (const id of [MODEL, "openai/vendor/model-with-slash", "offline/demo", "assistant/forecaster"]) {
    assert.ok(ids.includes(id), `${id} is not in ${ids.slice(0, 20)}`);
  }
  assert.equal(models.find((model) => model.id === "assistant/forecaster").owned_by, "assistant");
  assert.equal(new Set(ids).size, ids.length);
});

await check("models: one of them, with slashes in its name", async () => {
  for (const id of [MODEL, "openai/vendor/model-with-slash", "assistant/forecaster"]) {
    const model = await client.models.retrieve(id);
    assert.equal(model.id, id);
    assert.equal(model.object, "model");
  }
  await failure(client.models.retrieve("assistant/nonesuch"), OpenAI.NotFoundError);
});

await check("embeddings: base64, which the client asks for by itself", async () => {
  const answer = await client.embeddings.create({ model: EMBEDDER, input: "moon" });
  assert.deepEqual(answer.data.map(({ index, embedding }) => [index, embedding]), [[0, [4, 0.5]]]);
  assert.ok(answer.usage.total_tokens > 0);
});

await check("embeddings: the bytes of base64 are little-endian floats", async () => {
  const { data } = await client.post("/embeddings", { body: { model: EMBEDDER, input: ["moon"], encoding_format: "base64" } });
  const bytes = Buffer.from(data[0].embedding, "base64");
  assert.deepEqual([bytes.readFloatLE(0), bytes.readFloatLE(4), bytes.length], [4, 0.5, 8]);
});

await check("embeddings: numbers, of several texts", async () => {
  const answer = await client.embeddings.create({ model: EMBEDDER, input: ["a", "bb"], encoding_format: "float", user: "u" });
  assert.deepEqual(answer.data.map(({ index, embedding }) => [index, embedding]), [[0, [1, 0.5]], [1, [2, 0.5]]]);
});

await check("images: a picture", async () => {
  const answer = await client.images.generate({ model: "openai/gpt-image-1", prompt: "the moon", n: 1, size: "1024x1024" });
  assert.ok(answer.created > 0);
  assert.equal(Buffer.from(answer.data[0].b64_json, "base64").subarray(1, 4).toString(), "PNG");
});

done();
