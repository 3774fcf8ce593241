-- Rows out of measured numbers: medians, ratios, a table for people and JSON lines for programs.
local json = require "perilune.json"

local M = {}


local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local half = #sorted // 2
  return #sorted % 2 == 1 and sorted[half + 1] or (sorted[half] + sorted[half + 1]) / 2
end


-- The number a row asks for, once for each round; nil and the reason when its side did not run.
local function numbers(results, failures, wanted)
  local side, field = wanted[1], wanted[2]
  if failures[side] or not results[side] then
    return nil, failures[side] or "not measured"
  end
  local list = {}
  for round, result in ipairs(results[side]) do
    if not result[field] then
      return nil, "not installed"
    end
    list[round] = result[field] * (wanted.times or 1)
  end
  return list
end


---What a row says. `ratio` is how many times better Perilune is: the median of the ratios of the rounds.
---@param row perilune.bench.Row
---@param results table<string, table[]> by side, a result for each round
---@param failures table<string, string> by side
---@return table
function M.evaluate(row, results, failures)
  local line = { title = row.title, unit = row.unit, peer = row.peer_name }
  local ours, problem = numbers(results, failures, row.ours)
  if not ours then
    line.problem = problem
    return line
  end
  line.perilune = median(ours)
  if not row.peer then
    return line
  end
  local theirs
  theirs, line.peer_problem = numbers(results, failures, row.peer)
  if theirs then
    line.peer_value, line.ratios = median(theirs), {}
    for round = 1, #ours do
      line.ratios[round] = row.less_is_better and theirs[round] / ours[round] or ours[round] / theirs[round]
    end
    line.ratio = median(line.ratios)
  end
  return line
end


local function number(value)
  if not value then
    return "-"
  elseif value >= 1000 then
    return (("%.0f"):format(value):reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
  end
  return (value >= 100 and "%.0f" or value >= 10 and "%.1f" or "%.2f"):format(value)
end


local function columns(title, ours, theirs, unit, peer, ratio)
  local padding = (" "):rep(9 - utf8.len(unit))
  return ("  %-40s %9s %9s %s%s %-15s %6s"):format(title, ours, theirs, unit, padding, peer, ratio)
end


local function line_text(line)
  if line.problem then
    return ("  %-40s %s"):format(line.title, line.problem)
  end
  local ratio = line.ratio and ("%.2f"):format(line.ratio) or line.peer_problem
  return columns(line.title, number(line.perilune), number(line.peer_value), line.unit, line.peer or "", ratio or "")
end


---The table for people.
---@param groups { title: string, lines: table[] }[] lines from `evaluate`
---@param versions table<string, string> of the packages beside
---@param rounds integer
---@return string
function M.text(groups, versions, rounds)
  local lines = { columns("", "Perilune", "beside", "", "", "ratio") }
  for _, group in ipairs(groups) do
    lines[#lines + 1] = "\n" .. group.title
    for _, line in ipairs(group.lines) do
      lines[#lines + 1] = line_text(line)
    end
  end
  local beside = {}
  for name, version in pairs(versions) do
    beside[#beside + 1] = name .. " " .. version
  end
  table.sort(beside)
  lines[#lines + 1] = ("\nRounds: %d; figures are medians. Ratio: how many times better Perilune is; below 1 it is behind."):format(rounds)
  lines[#lines + 1] = #beside > 0 and "Beside: " .. table.concat(beside, ", ") or nil
  return table.concat(lines, "\n")
end


---The same as JSON, one object a line.
---@param groups { title: string, lines: table[] }[]
---@return string
function M.json(groups)
  local lines = {}
  for _, group in ipairs(groups) do
    for _, line in ipairs(group.lines) do
      line.group = group.title
      lines[#lines + 1] = assert(json.encode(line))
    end
  end
  return table.concat(lines, "\n")
end


return M
