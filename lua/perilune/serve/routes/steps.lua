-- /v1/threads/{thread_id}/runs/{run_id}/steps
local ids = require "perilune.serve.ids"
local lists = require "perilune.serve.lists"
local pages = require "perilune.store.pages"
local problem = require "perilune.serve.problem"
local thread_runs = require "perilune.serve.thread_runs"


local function find(steps, id)
  for _, step in ipairs(steps) do
    if step.id == id then
      return step
    end
  end
end


local function list(exchange)
  local row, page = thread_runs.run(exchange), lists.page(exchange)
  local steps = thread_runs.steps(exchange.server.db, row)
  lists.check_bounds(page, "a step of this run", function(id)
    return find(steps, id)
  end)
  exchange:reply(200, lists.body(pages.of_list(steps, page)))
end


local function retrieve(exchange)
  local row, id = thread_runs.run(exchange), exchange.params.step_id
  local step = ids.step_seq(id, row.id) and find(thread_runs.steps(exchange.server.db, row), id)
  exchange:reply(200, step or problem.not_found("run step", id))
end


return {
  { "GET", "/v1/threads/{thread_id}/runs/{run_id}/steps", list, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}", retrieve, family = "assistants" },
}
