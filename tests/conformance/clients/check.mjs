// Named checks, one after the other; each becomes a line of JSON on standard output: {"name":…,"ok":…,"detail":…}.
// The last line is {"done":N}: without it a script did not get to its end.
import assert from "node:assert/strict";

export const baseURL = process.env.BASE_URL;
export const apiKey = process.env.API_KEY;
export const MODEL = "openai/gpt-4o-mini";

const LIMIT_MS = 20_000;
const DETAIL_MAX = 1500;
let count = 0;

// All output that is not ours would be mistaken for it.
console.log = console.info = console.debug = console.error;

function print(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}

function late(name) {
  let timer;
  const promise = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`"${name}" took longer than ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  return { promise, stop: () => clearTimeout(timer) };
}

function describe(error) {
  const said = error?.error ? ` ${JSON.stringify(error.error)}` : "";
  const cause = error?.cause ? ` (cause: ${error.cause.message ?? error.cause})` : "";
  return `${error?.stack ?? error}${said}${cause}`.slice(0, DETAIL_MAX);
}

export async function check(name, run) {
  count += 1;
  const limit = late(name);
  try {
    await Promise.race([run(), limit.promise]);
    print({ name, ok: true });
  } catch (error) {
    print({ name, ok: false, detail: describe(error) });
  } finally {
    limit.stop();
  }
}

// Says that all checks ran, and ends the process, whatever connections its client keeps.
export function done() {
  process.stdout.write(JSON.stringify({ done: count }) + "\n", () => process.exit(0));
}

// All that a stream gives.
export async function collect(stream) {
  const all = [];
  for await (const one of stream) all.push(one);
  return all;
}

// The error that was thrown, of that class.
export async function failure(promise, kind) {
  const error = await promise.then(
    (value) => assert.fail(`no error, but ${JSON.stringify(value)}`),
    (thrown) => thrown,
  );
  assert.ok(error instanceof kind, `${error?.constructor?.name} instead of ${kind.name}: ${error?.message}`);
  return error;
}

// Asks again until `is_over` holds.
export async function poll(ask, is_over) {
  for (;;) {
    const value = await ask();
    if (is_over(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
