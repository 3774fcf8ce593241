// Preloaded before a client's checks (node --import): everything that the server answers is held against OpenAI's published document,
// without the client noticing. Whole answers go through Prism, whose verdict is a header; events of streams, and errors, are
// compared with their schemas here. At the end a line of JSON is printed for each kind of answer, like those of check.mjs.
import { readFileSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import { parse } from "yaml";

const { BASE_URL, PRISM_URL, OPENAPI } = process.env;
const PROBLEMS_MAX = 5;
const PROBLEM_LENGTH_MAX = 600;

// OpenAPI 3.0's `nullable`, which the document still uses here and there, in JSON Schema's words.
function nullable(node) {
  if (Array.isArray(node)) return node.map(nullable);
  if (node === null || typeof node !== "object") return node;
  const { nullable: is_nullable, ...rest } = Object.fromEntries(Object.entries(node).map(([name, value]) => [name, nullable(value)]));
  if (is_nullable === true) return { anyOf: [{ type: "null" }, rest] };
  return is_nullable === undefined || is_nullable === false ? rest : { ...rest, nullable: is_nullable };
}

const { schemas } = parse(readFileSync(OPENAPI, "utf8")).components;
const ajv = new Ajv.default({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ $id: "openapi", components: { schemas: nullable(schemas) } });
const validators = new Map();

function problems_with(value, pointer) {
  if (!validators.has(pointer)) validators.set(pointer, ajv.compile({ $ref: `openapi#/components/schemas/${pointer}` }));
  const validate = validators.get(pointer);
  return validate(value) ? [] : validate.errors.map(({ instancePath, message }) => `${pointer}${instancePath} ${message}`);
}

// The variants of a schema by the constant that tells them apart: {"response.created": "ResponseCreatedEvent", …}.
function variants(name, field, found = new Map(), pointer = name) {
  const schema = pointer.split("/").reduce((node, key) => node[key], schemas);
  const constant = schema.properties?.[field]?.enum?.[0] ?? schema.properties?.[field]?.const;
  if (constant) found.set(constant, pointer);
  for (const list of ["anyOf", "oneOf"]) {
    schema[list]?.forEach((one, position) => {
      const to = one.$ref ? one.$ref.replace("#/components/schemas/", "") : `${pointer}/${list}/${position}`;
      variants(name, field, found, to);
    });
  }
  return found;
}

const response_events = variants("ResponseStreamEvent", "type");
const assistant_events = variants("AssistantStreamEvent", "event");
const unknown = (what, name) => [`there is no ${what} '${name}'`];

// What is wrong with an event of a stream, by the beginning of the path.
const judges = {
  "/chat/completions": ({ data }) => problems_with(data, "CreateChatCompletionStreamResponse"),
  "/completions": ({ data }) => problems_with(data, "CreateCompletionResponse"),
  "/responses": ({ event, data }) => {
    if (event !== data.type) return [`the event is called ${event}, and its type is ${data.type}`];
    return response_events.has(event) ? problems_with(data, response_events.get(event)) : unknown("event of a response", event);
  },
  "/threads": (one) => {
    const { event } = one;
    return assistant_events.has(event) ? problems_with(one, assistant_events.get(event)) : unknown("event of a run", event);
  },
};

// What the document says is not, and OpenAI does all the same.
const exceptions = [
  /embedding must be array/, // but a text, for encoding_format: "base64"
  /CreateCompletionResponse\/choices\/\d+\/finish_reason must be/, // but null, in a stream before its end
];
const is_known = (problem) => exceptions.some((one) => one.test(problem));

const seen = new Map();

function note(name, problems) {
  const entry = seen.get(name) ?? { count: 0, problems: new Set() };
  seen.set(name, entry);
  entry.count += 1;
  const counted = problems.filter((problem) => !is_known(problem)).join("; ");
  if (counted) entry.problems.add(counted.slice(0, PROBLEM_LENGTH_MAX));
}

function judge_frame(frame, path) {
  const lines = frame.split("\n").filter((line) => line && !line.startsWith(":"));
  const field = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim()).join("\n");
  const event = field("event") || undefined;
  const text = field("data");
  const start = Object.keys(judges).find((one) => path.startsWith(one));
  if (lines.length === 0 || (text === "[DONE]" && start !== "/threads")) return;
  const data = text === "[DONE]" ? text : JSON.parse(text);
  if (data.error && event === undefined) {
    note(`stream of ${start}: error`, problems_with(data, "ErrorResponse"));
  } else {
    note(`stream of ${start}: ${event ?? data.object}`, judges[start]({ event, data }));
  }
}

// The same answer, its events judged as they pass.
function watched(response, path) {
  const decoder = new TextDecoder();
  let rest = "";
  const body = response.body.pipeThrough(new TransformStream({
    transform(bytes, controller) {
      const frames = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
      rest = frames.pop();
      frames.forEach((frame) => judge_frame(frame, path));
      controller.enqueue(bytes);
    },
  }));
  return new Response(body, response);
}

// Names of things out of a path: "/threads/thread_x/runs" becomes "/threads/{id}/runs".
function plain(path) {
  return path.replace(/\/(resp|conv|thread|run|msg|fc|fco|rs|step|asst)_[^/]+/g, "/{id}").replace(/\/models\/.+/, "/models/{id}");
}

// What Prism says; a list that is too long it cuts somewhere.
function violations(text) {
  if (!text.startsWith("[")) return [text];
  return JSON.parse(text).map(({ location, message }) => `${location.join(".")}: ${message}`);
}

async function judge_whole(response, name) {
  if (response.status >= 400) {
    return note(`error ${response.status}`, problems_with(await response.clone().json(), "ErrorResponse"));
  }
  note(name, violations(response.headers.get("sl-violations") ?? "[]"));
}

const plain_fetch = globalThis.fetch;

globalThis.fetch = async (url, init) => {
  const address = String(url);
  const path = address.slice(BASE_URL.length).split("?")[0];
  const is_stream = /"stream":true/.test(init?.body ?? "") || /[?&]stream=true/.test(address);
  if (!is_stream) {
    const response = await plain_fetch(address.replace(BASE_URL, PRISM_URL), init);
    await judge_whole(response, `${init?.method ?? "GET"} ${plain(path)}`);
    return response;
  }
  const response = await plain_fetch(url, init);
  return response.headers.get("content-type")?.startsWith("text/event-stream") ? watched(response, path) : response;
};

process.on("exit", () => {
  for (const [name, { count, problems }] of seen) {
    const detail = [...problems].slice(0, PROBLEMS_MAX).join("\n");
    process.stdout.write(JSON.stringify({ name, ok: problems.size === 0, detail, count }) + "\n");
  }
});
