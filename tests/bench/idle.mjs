// idle.mjs FEW MANY: what idle.lua does, with openai-node.
import fs from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import OpenAI from 'openai';

const [few, many] = process.argv.slice(2).map(Number);
const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: 'x', maxRetries: 0 });
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
const streams = [];

async function hold() {
  const body = { model: 'idle', messages: [{ role: 'user', content: 'hi' }], stream: true };
  const chunks = (await client.chat.completions.create(body))[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.value?.choices[0].delta.content !== 'first') throw new Error(JSON.stringify(first));
  chunks.next(); // waits from now on
  streams.push(chunks);
}

async function open(count) {
  await Promise.all(Array.from({ length: count - streams.length }, hold));
}

function residentKb() {
  collect();
  return Number(fs.readFileSync('/proc/self/status', 'utf8').match(/^VmRSS:\s*(\d+)/m)[1]);
}

await open(few);
const before = residentKb();
await open(many);
const after = residentKb();
console.log(JSON.stringify({ kb_per_stream: (after - before) / (many - few), rss_kb: after, streams: many }));
process.exit(0);
