-- perilune ask: one answer on standard output.
local cassettes = require "perilune.cli.cassette"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local perilune = require "perilune"
local proc = require "perilune.sys.proc"

local M = {
  usage = "ask [OPTION...] PROMPT...",
  summary = "Asks a model once. What comes on standard input goes before the prompt.",
  options = {
    { names = { "--model", "-m" }, key = "model", value = "NAME", help = "the model, as provider/model" },
    { names = { "--system", "-s" }, key = "system", value = "TEXT", help = "instructions" },
    { names = { "--image", "-i" }, key = "images", value = "FILE", many = true, help = "an image, a file or an address; repeatable" },
    { names = { "--file", "-f" }, key = "files", value = "FILE", many = true, help = "a PDF, sound, a video or an image; repeatable" },
    {
      names = { "--max-tokens" }, key = "max_tokens", value = "N", type = "integer", min = 1,
      help = "how many tokens the answer may have",
    },
    {
      names = { "--temperature" }, key = "temperature", value = "T", type = "number", min = 0, max = 2,
      help = "how varied it may be, 0 to 2",
    },
    { names = { "--stream" }, key = "stream", help = "print while it arrives (default); --no-stream prints it whole" },
    table.unpack(cassettes.options),
  },
  examples = {
    "'What is the capital of France?'", "--model openai/gpt-4o-mini --json hello", "'Summarise this' < notes.txt",
    "--image photo.jpg 'What is in this picture?'", "--record hello.jsonl Hello", "--replay hello.jsonl Hello",
  },
}


local function prompt_of(words)
  local prompt = table.concat(words, " ")
  if not proc.is_tty(0) then
    local piped, err = proc.read_stdin()
    if not piped then
      error(err, 0)
    end
    prompt = piped ~= "" and (prompt ~= "" and piped .. "\n\n" .. prompt or piped) or prompt
  end
  if prompt:find("^%s*$") then
    options.fail("ask: what? (perilune ask PROMPT)")
  end
  local length, bad = utf8.len(prompt)
  if not length then
    options.fail("ask: the prompt is no text in UTF-8 (byte %d); attach files that are no text with --file", bad)
  end
  return prompt
end


-- A Response as plain data.
local function plain(answer)
  return {
    id = answer.id, content = answer.content, reasoning = answer.reasoning, refusal = answer.refusal, model = answer.model,
    provider = answer.provider, finish_reason = answer.finish_reason, tool_calls = json.array(answer.tool_calls), usage = answer.usage,
    request_id = answer.request_id, stats = answer.stats,
  }
end


local function print_stream(client, prompt, request)
  local stream <close> = client:stream(prompt, request)
  local last
  for event in stream do
    if event.type == "text" or event.type == "refusal" then
      output.write(event.text)
      last = event.text
    elseif event.type == "error" then
      if last then
        output.write("\n")
      end
      error(event.error, 0)
    end
  end
  if last and last:sub(-1) ~= "\n" then
    output.write("\n")
  end
end


function M.run(values, words, app)
  local client = perilune.client { model = values.model }
  local request = {
    system = values.system, max_tokens = values.max_tokens, temperature = values.temperature, images = values.images,
    files = values.files,
  }
  local prompt = prompt_of(words)
  local _ <close> = cassettes.insert("ask", values, app)
  if values.json then
    output.json(plain(client:chat(prompt, request)))
  elseif values.stream == false then
    output.write(client:chat(prompt, request).content .. "\n")
  else
    print_stream(client, prompt, request)
  end
  return 0
end


return M
