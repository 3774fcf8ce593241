-- How much a Gemini model may think, in the words of its generation: levels from Gemini 3 on, budgets of tokens for 2.5 and
-- for names without a version, nothing before. Not every model can do without: "none" is then the least it can do.

local M = {}

local budgets = { minimal = 512, low = 1024, medium = 8192, high = 24576, xhigh = 24576, max = 24576 }
local BUDGET_MIN_PRO = 128

local levels = { none = "MINIMAL", minimal = "MINIMAL", low = "LOW", medium = "MEDIUM", high = "HIGH", xhigh = "HIGH", max = "HIGH" }

-- The Pro models know fewer levels, the first of them only two.
local levels_pro = { MINIMAL = "LOW" }


-- gemini-2.5-pro -> 205; 0 for a name without a version.
local function version(model)
  local major, minor = model:match("gemini%-(%d+)%.?(%d*)")
  return major and math.tointeger(major) * 100 + (math.tointeger(minor) or 0) or 0
end


local function level(effort, model)
  local found = levels[effort]
  if found and model:find("pro", 1, true) then
    found = levels_pro[found] or found
    if found == "MEDIUM" and version(model) == 300 then
      return "HIGH"
    end
  end
  return found
end


local function budget(effort, model)
  if effort == "none" then
    return model:find("pro", 1, true) and BUDGET_MIN_PRO or 0
  end
  return budgets[effort]
end


---The thinkingConfig of a request; nil when it says nothing about thinking.
---@param request perilune.Request
---@param model string
---@return table?
function M.config(request, model)
  local effort = request.enable_thinking == false and "none" or request.reasoning_effort
  local generation = version(model)
  if not effort and request.enable_thinking == nil or generation > 0 and generation < 205 then
    return nil
  end
  local config = { includeThoughts = effort ~= "none" }
  if generation >= 300 then
    config.thinkingLevel = level(effort, model)
  else
    config.thinkingBudget = budget(effort, model)
  end
  return config
end


---Does the model refuse its own earlier calls without their signature?
---@param model string
---@return boolean
function M.wants_signatures(model)
  return version(model) >= 300
end


return M
