-- Whom to ask, in which order. A plan is made once for what a script named and kept; each request takes an order from it. First the
-- chosen target, then the listed fallbacks, then, where anybody may answer, three tiers of other providers: those that have
-- exactly the chosen model, those that have one like it, the rest. Who is in a tier is known once; who goes first in it is chance.
local configured = require "perilune.model.configured"
local similar = require "perilune.model.similar"
local token = require "perilune.sys.token"

local M = {}

local methods = {}
local metatable = { __name = "perilune.model.plan", __index = methods }


---@class perilune.Candidate one that can be asked
---@field target perilune.Target
---@field model table what `make` made of the target
---@field endpoint? table what the process knows of the target (perilune.sys.failover)

---@class perilune.Plan
---@field name string what was named, for people
---@field listed_n integer how many were named
---@field skipped table[] attempts: who was named and cannot be asked
---@field unusable perilune.Unusable[] who could not be chosen without having been named, and why
---@field context? perilune.Candidate[] who is asked when a question is too long for the others


---A candidate out of a target.
---@param target perilune.Target
---@param make fun(target: perilune.Target): table, table? what is asked, and the target's endpoint
---@return perilune.Candidate
function M.candidate(target, make)
  local model, endpoint = make(target)
  return { target = target, model = model, endpoint = endpoint }
end


---@class perilune.PlanParts
---@field name string
---@field settings? perilune.Settings where a cassette may be put in, of plans for questions
---@field make fun(target: perilune.Target): table, table? as for `candidate`
---@field listed perilune.Candidate[] who was named
---@field choices? perilune.Row[] one of these, by chance, is asked first
---@field pool? perilune.Row[] who is in the tiers
---@field wanted? { name: string, model: string } who was named first, although it cannot be asked
---@field skipped? table[]
---@field unusable? perilune.Unusable[]
---@field context? perilune.Candidate[]

---A plan out of its parts, which become the plan.
---@param parts perilune.PlanParts
---@return perilune.Plan
function M.new(parts)
  parts.listed_n = #parts.listed + (parts.choices and 1 or 0)
  parts.skipped, parts.unusable = parts.skipped or {}, parts.unusable or {}
  parts.made, parts.tiers = {}, {}
  return setmetatable(parts, metatable)
end


-- A number from 1 to n, by chance.
local function any(n)
  return n == 1 and 1 or string.unpack("<I4", token.random(4)) % n + 1
end


local function id_of(provider, model)
  return provider .. "/" .. model
end


-- The candidate of a row, made once. Rows are of those that can be called.
local function candidate_of(self, row, model)
  local id = id_of(row.found.name, model)
  self.made[id] = self.made[id] or M.candidate(assert(configured.target(row.found, model, row.settings)), self.make)
  return self.made[id]
end


local function choose(self)
  local row = self.choices[any(#self.choices)]
  return candidate_of(self, row, row.models[any(#row.models)])
end


-- The tiers around a model: every other provider, with the model to ask it for; none: any of its models.
local function tiers_around(pool, provider, model)
  local same, alike, rest = {}, {}, {}
  for _, row in ipairs(pool) do
    if row.found.name ~= provider then
      local likeness = similar.nearest(model, row.known)
      local tier = not likeness and rest or likeness.rank == 1 and same or alike
      tier[#tier + 1] = { row = row, model = likeness and likeness.name }
    end
  end
  return { same, alike, rest }
end


local function shuffled(list)
  local copy = table.move(list, 1, #list, 1, {})
  for position = #copy, 2, -1 do
    local other = any(position)
    copy[position], copy[other] = copy[other], copy[position]
  end
  return copy
end


local function add(order, seen, candidate)
  local id = id_of(candidate.target.name, candidate.target.model)
  if not seen[id] then
    seen[id] = true
    order[#order + 1] = candidate
  end
end


local function add_tiers(self, order, seen, wanted)
  local id = id_of(wanted.name, wanted.model)
  self.tiers[id] = self.tiers[id] or tiers_around(self.pool, wanted.name, wanted.model)
  for _, tier in ipairs(self.tiers[id]) do
    for _, entry in ipairs(shuffled(tier)) do
      local models = entry.row.models
      add(order, seen, candidate_of(self, entry.row, entry.model or models[any(#models)]))
    end
  end
end


-- Whom chance chose when it was recorded.
local function recorded(self, tape)
  local order = {}
  for _, one in ipairs(tape:upcoming()) do
    local found = configured.get(one.provider)
    local row = found and { found = found, settings = configured.for_others(self.settings) }
    order[#order + 1] = row and candidate_of(self, row, one.model)
  end
  return order
end


---Whom to ask for one request, in order; nobody twice. Not to be changed: a plan without chance gives the same list every time.
---@return perilune.Candidate[]
function methods:order()
  if not self.choices and not self.pool then
    return self.listed
  end
  local cassette = self.settings and self.settings.cassette
  if cassette and cassette.mode == "replay" then
    local order = recorded(self, cassette.tape)
    if order[1] then
      return order
    end
  end
  local order, seen = {}, {}
  if self.choices then
    add(order, seen, choose(self))
  end
  for _, candidate in ipairs(self.listed) do
    add(order, seen, candidate)
  end
  if self.pool then
    add_tiers(self, order, seen, self.wanted or order[1].target)
  end
  return order
end


return M
