// Asks for answers that are wrong, for validated.mjs to notice.
import assert from "node:assert/strict";
import { apiKey, baseURL, check, done } from "./check.mjs";

const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };

await check("wrong: an answer", async () => {
  assert.equal((await (await fetch(`${baseURL}/batches`, { headers })).json()).object, "poem");
});

await check("wrong: a stream", async () => {
  const response = await fetch(`${baseURL}/threads/wrong/runs`, { method: "POST", headers, body: '{"stream":true}' });
  assert.match(await response.text(), /thread\.poem/);
});

done();
