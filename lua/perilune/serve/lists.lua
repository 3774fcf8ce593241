-- Lists in OpenAI's shape, page by page.
local json = require "perilune.json"
local problem = require "perilune.serve.problem"

local M = {}

local LIMIT = 20
local LIMIT_MAX = 100


---@class perilune.serve.Page
---@field limit integer
---@field order "asc"|"desc"
---@field after? string the id of the last one of the previous page
---@field before? string

---What the query says of the page.
---@param exchange perilune.Exchange
---@param options? { default_order: "asc"|"desc"|nil, limit_max: integer? }
---@return perilune.serve.Page
function M.page(exchange, options)
  options = options or {}
  local order = exchange:query("order") or options.default_order or "desc"
  if order ~= "asc" and order ~= "desc" then
    problem.invalid("order", "'order' must be \"asc\" or \"desc\".")
  end
  local after, before = exchange:query("after"), exchange:query("before")
  return {
    limit = exchange:query_integer("limit", LIMIT, 1, options.limit_max or LIMIT_MAX), order = order,
    after = after ~= "" and after or nil, before = before ~= "" and before or nil,
  }
end


---Raises unless a page begins and ends at things of its list: what is not known would be no bound at all.
---@param page perilune.serve.Page
---@param what string "a run of this thread"
---@param has fun(id: string): any
function M.check_bounds(page, what, has)
  for _, name in ipairs { "after", "before" } do
    if page[name] and not has(page[name]) then
      problem.invalid(name, ("'%s' must be the id of %s."):format(name, what))
    end
  end
end


---@param data table[] objects with an id
---@param has_more boolean
---@return table
function M.body(data, has_more)
  local first, last = data[1], data[#data]
  return {
    object = "list", data = json.array(data), first_id = first and first.id or "", last_id = last and last.id or "", has_more = has_more,
  }
end


---The page of a list that was read with one more than the limit.
---@param data table[]
---@param page perilune.serve.Page
---@return table
function M.cut(data, page)
  local has_more = #data > page.limit
  if has_more then
    data = table.move(data, 1, page.limit, 1, {})
  end
  return M.body(data, has_more)
end


return M
