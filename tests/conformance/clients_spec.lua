-- The server past clients that nobody here wrote, unchanged: their own assertions, and OpenAI's own document.
local clients = require "tests.support.clients"
local task = require "perilune.sys.task"

local scripts = {
  "openai_chat", "openai_errors", "openai_responses", "openai_assistants", "openai_others", "ai_sdk", "openai_agents", "langchain",
  "anthropic",
}

-- Whose answers OpenAI's document describes.
local documented = { "openai_chat", "openai_responses", "openai_assistants", "openai_others" }


-- Each check that a script has made becomes a test.
local function tell(results)
  for _, one in ipairs(results) do
    it(one.name, function()
      assert(one.ok, one.detail)
    end)
  end
end


-- The results of several scripts on one server.
local function run_all(names)
  return function(server)
    local results = {}
    for _, name in ipairs(names) do
      for _, one in ipairs(server:run(name)) do
        results[#results + 1] = one
      end
    end
    return results
  end
end


local function validated(server)
  return server:with_validation(function()
    return { answers = run_all(documented)(server), wrong = server:run "wrong" }
  end)
end


local function by_name(results)
  local found = {}
  for _, one in ipairs(results) do
    found[one.name] = one
  end
  return found
end


local needed = clients.missing()
local document_needed = needed or clients.document_missing()

-- Each on a server of its own, at the same time: they are mostly other programs, which start slowly.
local plain, answers, wrong
do
  local group <close> = task.group()
  if not needed then
    group:spawn(function()
      plain = clients.with_server(run_all(scripts))
    end)
  end
  if not document_needed then
    group:spawn(function()
      local results = clients.with_server(validated)
      answers, wrong = results.answers, by_name(results.wrong)
    end)
  end
  group:wait()
end


describe("the server with real clients:", function()
  if needed then
    pending("this needs " .. needed)
    return
  end
  tell(plain)
end)


describe("what the server answers is what OpenAI's document says:", function()
  if document_needed then
    pending("this needs " .. document_needed)
    return
  end
  tell(answers)

  it("and what is not is noticed", function()
    assert.matches("object", wrong["GET /batches"].detail)
    assert.matches("created_at", wrong["stream of /threads: thread.created"].detail)
    assert.matches("no event of a run 'thread.poem'", wrong["stream of /threads: thread.poem"].detail)
    assert.is_true(wrong["stream of /threads: done"].ok)
  end)
end)
