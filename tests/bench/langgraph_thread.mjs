// langgraph_thread.mjs FIRST TURNS: the job of `thread.lua FIRST TURNS all`, with LangGraph and its SQLite checkpointer.
import { createReactAgent } from '@langchain/langgraph/prebuilt';
import { SqliteSaver } from '@langchain/langgraph-checkpoint-sqlite';
import { ChatOpenAI } from '@langchain/openai';
import { tool } from '@langchain/core/tools';
import { z } from 'zod';
import fs from 'node:fs';

const [first, turns] = [Number(process.argv[2]), Number(process.argv[3])];
const block = 30;
const path = process.env.PERILUNE_DB;

const llm = new ChatOpenAI({ model: 'tools', apiKey: 'x', configuration: { baseURL: process.env.OPENAI_BASE_URL } });
const weather = tool(async () => JSON.stringify({ temperature: 18 }), {
  name: 'get_weather',
  description: 'Get weather',
  schema: z.object({ location: z.string() }),
});

function open() {
  const checkpointSaver = SqliteSaver.fromConnString(path);
  return { agent: createReactAgent({ llm, tools: [weather], prompt: 'You are helpful', checkpointSaver }), db: checkpointSaver.db };
}

// The seconds of each turn.
async function measure(agent, count, keyOf) {
  const seconds = [];
  for (let number = 1; number <= count; number++) {
    const started = performance.now();
    const messages = [{ role: 'user', content: 'Weather in Paris?' }];
    const answer = await agent.invoke({ messages }, { configurable: { thread_id: keyOf(number) } });
    seconds.push((performance.now() - started) / 1000);
    if (!answer.messages.at(-1).content.includes('18')) throw new Error(`turn ${number}: ${answer.messages.at(-1).content}`);
  }
  return seconds;
}

// Turns a second, by the median of those from one to another.
function rate(seconds, from, to) {
  const sorted = seconds.slice(from - 1, to).sort((a, b) => a - b);
  return 1 / sorted[Math.floor(sorted.length / 2)];
}

const result = {};
const short = open();
await measure(short.agent, 10, (number) => `warm-up ${number}`);
const cpu = process.cpuUsage();
result.first = rate(await measure(short.agent, first, (number) => `fresh ${number}`), 1, first);
const used = process.cpuUsage(cpu);
result.first_cpu_ms = (used.user + used.system) / 1000 / first;
short.db.close();
fs.rmSync(path);

const long = open();
const started = performance.now();
const seconds = await measure(long.agent, turns, () => 'long');
result.turns_per_s = (turns * 1000) / (performance.now() - started);
result.begin = rate(seconds, 2, block + 1);
result.middle = rate(seconds, Math.floor((turns - block) / 2) + 1, Math.floor((turns + block) / 2));
result.end = rate(seconds, turns - block + 1, turns);
long.db.close();
result.db_kb = fs.statSync(path).size / 1000;
console.log(JSON.stringify(result));
