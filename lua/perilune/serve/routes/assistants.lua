-- /v1/assistants: those of the server's scripts, which nobody changes over HTTP, and those that are rows.
--
-- OpenAI's name of an assistant may be any text, and several may have the same; that of a row is unique. So a row gets the name that was
-- asked for when it is free, else its own id, and the name becomes its `label`.
local assistant_access = require "perilune.serve.assistant_access"
local assistants = require "perilune.store.assistants"
local errors = require "perilune.std.errors"
local fields = require "perilune.serve.shape.assistants.fields"
local lists = require "perilune.serve.lists"
local objects = require "perilune.serve.shape.assistants.objects"
local problem = require "perilune.serve.problem"
local token = require "perilune.sys.token"

local NAME_MAX, DESCRIPTION_MAX, INSTRUCTIONS_MAX = 256, 512, 256000
local EFFORTS = { "none", "minimal", "low", "medium", "high", "xhigh" }

-- The fields of a body that are options of an assistant, and how each is read.
local readers = {
  model = fields.model,
  description = function(body) return fields.text(body, "description", DESCRIPTION_MAX) end,
  instructions = function(body) return fields.text(body, "instructions", INSTRUCTIONS_MAX) end,
  temperature = function(body) return fields.number(body, "temperature", 0, 2) end,
  top_p = function(body) return fields.number(body, "top_p", 0, 1) end,
  response_format = fields.response_format,
  reasoning_effort = function(body) return fields.choice(body, "reasoning_effort", EFFORTS) end,
}


-- The tools that were asked for; one that only the host has, and that was there before, is kept by its name.
local function tools_of(body, before)
  local tools, is_host = fields.tools(body), {}
  for _, one in ipairs(before or {}) do
    is_host[type(one) == "string" and one or ""] = true
  end
  for position, one in ipairs(tools or {}) do
    tools[position] = is_host[one.name] and one.name or one
  end
  return tools
end


-- Puts what the body says into a definition; what it does not name stays.
local function change(definition, body)
  fields.refuse_files(body, "tool_resources")
  for name, read in pairs(readers) do
    if body[name] ~= nil then
      definition[name] = read(body)
    end
  end
  if body.tools ~= nil then
    definition.tools = tools_of(body, definition.tools)
  end
end


-- Gives a row the name that was asked for, if anything was said of it.
local function take_name(row, body)
  if body.name == nil then
    return
  end
  local name = fields.text(body, "name", NAME_MAX)
  local is_fit = name and name ~= "" and #name <= NAME_MAX and not name:find("%c")
  row.definition.label = not is_fit and name or nil
  row.name = is_fit and name or row.id
end


-- Stores a row; when its name is taken it keeps that as a label.
local function store(row, write)
  local stored, err = write(row)
  if not stored and err.code == "name" then
    row.definition.label, row.name = row.name, row.id
    stored, err = write(row)
  end
  return { id = row.id, ref = row.id, row = errors.must(stored, err) }
end


local function create(exchange)
  local body = exchange:body()
  local row = { id = token.id("asst"), definition = {}, metadata = fields.metadata(body), account = exchange.key.account }
  row.name = row.id
  take_name(row, body)
  change(row.definition, body)
  exchange:model_named(row.definition.model)
  local found = store(row, function(one)
    return assistants.create(exchange.server.db, one)
  end)
  exchange:reply(200, assistant_access.show(exchange, found))
end


local function list(exchange)
  local found, has_more = assistant_access.list(exchange, lists.page(exchange))
  local data = {}
  for position, one in ipairs(errors.must(found, has_more)) do
    data[position] = assistant_access.show(exchange, one)
  end
  exchange:reply(200, lists.body(data, has_more))
end


local function retrieve(exchange)
  exchange:reply(200, assistant_access.show(exchange, assistant_access.find(exchange, exchange.params.assistant_id)))
end


-- The row of the path; one of a script is not changed over HTTP.
local function row_of(exchange)
  local found = assistant_access.find(exchange, exchange.params.assistant_id)
  if not found.row then
    problem.invalid("assistant_id", ("The assistant '%s' is defined by a script of the server: it is changed there."):format(found.id))
  end
  return found.row
end


local function modify(exchange)
  local row, body = row_of(exchange), exchange:body(true)
  take_name(row, body)
  change(row.definition, body)
  if body.model ~= nil then
    exchange:model_named(row.definition.model)
  end
  row.metadata = fields.metadata(body) or row.metadata
  local found = store(row, function(one)
    return assistants.update(exchange.server.db, one)
  end)
  exchange:reply(200, assistant_access.show(exchange, found))
end


local function delete(exchange)
  local row = row_of(exchange)
  errors.must(assistants.delete(exchange.server.db, row.id))
  exchange:reply(200, objects.deleted("assistant", row.id))
end


return {
  { "GET", "/v1/assistants", list, family = "assistants" },
  { "POST", "/v1/assistants", create, family = "assistants" },
  { "GET", "/v1/assistants/{assistant_id}", retrieve, family = "assistants" },
  { "POST", "/v1/assistants/{assistant_id}", modify, family = "assistants" },
  { "DELETE", "/v1/assistants/{assistant_id}", delete, family = "assistants" },
}
