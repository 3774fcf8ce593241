-- The size of an image as vendors want it: "1024x1536" as numbers, or as the nearest of the shapes that they draw.
local M = {}

-- Width to height; what most vendors know.
local ratios = { "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9" }


---@param size string? "1024x1536"
---@return integer? width
---@return integer? height
function M.numbers(size)
  local width, height = (size or ""):match("^(%d+)x(%d+)$")
  return math.tointeger(width), math.tointeger(height)
end


---The shape that is nearest to a size; nil without one.
---@param size string?
---@return string? ratio
function M.ratio(size)
  local width, height = M.numbers(size)
  if not width or width == 0 or height == 0 then
    return nil
  end
  local best, best_distance
  for _, ratio in ipairs(ratios) do
    local across, up = ratio:match("^(%d+):(%d+)$")
    local distance = math.abs(math.log((width / height) / (across / up)))
    if not best or distance < best_distance then
      best, best_distance = ratio, distance
    end
  end
  return best
end


return M
