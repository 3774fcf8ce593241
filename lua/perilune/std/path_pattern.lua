-- Patterns of paths, "/v1/threads/{thread_id}": `{name}` takes one segment, a last `{name...}` all that is left.
local M = {}


---@class perilune.PathSegment
---@field text? string that is written in the path
---@field name? string of a parameter
---@field is_rest? boolean the parameter takes all that is left

---@param text string what is between two slashes
---@return perilune.PathSegment?
local function segment_of(text)
  if not text:find("[{}]") then
    return { text = text }
  end
  local name, dots = text:match("^{([%w_]+)(%.*)}$")
  return (dots == "" or dots == "...") and { name = name, is_rest = dots ~= "" } or nil
end


---The segments of a pattern.
---@param pattern string
---@return perilune.PathSegment[]? segments nil: no path fits, or some of it would be lost
---@return string? problem
function M.parse(pattern)
  if pattern:find("//", 1, true) then
    return nil, "there is nothing between two slashes"
  end
  local segments, names = {}, {}
  for text in pattern:gmatch("[^/]+") do
    local segment, before = segment_of(text), segments[#segments]
    if not segment then
      return nil, ("'%s' is neither a word nor a parameter, like {name} or, at the end, {name...}"):format(text)
    elseif before and before.is_rest then
      return nil, ("nothing comes after {%s...}, which takes all that is left"):format(before.name)
    elseif segment.name and names[segment.name] then
      return nil, ("the parameter '%s' is there twice"):format(segment.name)
    end
    names[segment.name or ""] = true
    segments[#segments + 1] = segment
  end
  return segments
end


return M
