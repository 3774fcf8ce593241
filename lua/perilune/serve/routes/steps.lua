-- /v1/threads/{thread_id}/runs/{run_id}/steps
local ids = require "perilune.serve.ids"
local lists = require "perilune.serve.lists"
local pages = require "perilune.store.pages"
local problem = require "perilune.serve.problem"
local thread_runs = require "perilune.serve.thread_runs"


local function list(exchange)
  local row, page = thread_runs.run(exchange), lists.page(exchange)
  exchange:reply(200, lists.body(pages.of_list(thread_runs.steps(exchange.server.db, row), page)))
end


local function retrieve(exchange)
  local row, id = thread_runs.run(exchange), exchange.params.step_id
  if ids.step_seq(id, row.id) then
    for _, step in ipairs(thread_runs.steps(exchange.server.db, row)) do
      if step.id == id then
        return exchange:reply(200, step)
      end
    end
  end
  problem.not_found("run step", id)
end


return {
  { "GET", "/v1/threads/{thread_id}/runs/{run_id}/steps", list, family = "assistants" },
  { "GET", "/v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}", retrieve, family = "assistants" },
}
