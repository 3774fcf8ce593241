// streamed_turns.mjs ai|agents TURNS CONCURRENCY: agent turns with one tool call each, all answers streamed: the job of
// `turns.lua TURNS CONCURRENCY streamed`, without storing anything.
const [sdk, turns, concurrency] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const baseURL = process.env.OPENAI_BASE_URL;
const question = 'Weather in Paris?';

async function withAi() {
  const { streamText, tool, stepCountIs } = await import('ai');
  const { createOpenAI } = await import('@ai-sdk/openai');
  const { z } = await import('zod');
  const openai = createOpenAI({ baseURL, apiKey: 'x' });
  const weather = tool({
    description: 'Get weather',
    inputSchema: z.object({ location: z.string() }),
    execute: async () => ({ temperature: 18 }),
  });
  const options = {
    model: openai.chat('tools'), system: 'You are helpful', prompt: question, tools: { get_weather: weather }, stopWhen: stepCountIs(5),
  };
  return async () => {
    let text = '';
    for await (const part of streamText(options).textStream) text += part;
    return text;
  };
}

async function withAgents() {
  const { Agent, run, tool, setDefaultOpenAIClient, setOpenAIAPI, setTracingDisabled } = await import('@openai/agents');
  const { default: OpenAI } = await import('openai');
  const { z } = await import('zod');
  setDefaultOpenAIClient(new OpenAI({ baseURL, apiKey: 'x' }));
  setOpenAIAPI('chat_completions');
  setTracingDisabled(true);
  const weather = tool({
    name: 'get_weather',
    description: 'Get weather',
    parameters: z.object({ location: z.string() }),
    execute: async () => JSON.stringify({ temperature: 18 }),
  });
  const agent = new Agent({ name: 'forecaster', instructions: 'You are helpful', model: 'tools', tools: [weather] });
  return async () => {
    let text = '';
    const result = await run(agent, question, { stream: true });
    for await (const part of result.toTextStream()) text += part;
    await result.completed;
    return text;
  };
}

const turn = await (sdk === 'ai' ? withAi() : withAgents());
async function checkedTurn() {
  const text = await turn();
  if (!text.includes('token')) throw new Error(JSON.stringify(text));
}

await checkedTurn(); // warm-up
let left = turns;
async function worker() {
  while (left-- > 0) await checkedTurn();
}
const started = performance.now();
await Promise.all(Array.from({ length: concurrency }, worker));
console.log(JSON.stringify({ turns_per_s: turns / ((performance.now() - started) / 1000) }));
