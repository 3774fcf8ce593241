-- An answer as data: the model is told which JSON is wanted, and what comes is checked before it is used.
local perilune = require "perilune"
local schema = require "perilune.std.schema"

local moon = {
  type = "object", required = { "name", "radius_km" }, additionalProperties = false,
  properties = { name = { type = "string" }, radius_km = { type = "number", minimum = 0 } },
}

local answer = perilune.client():chat("Which moon of Jupiter is the largest?", {
  response_format = { type = "json_schema", json_schema = { name = "moon", schema = moon, strict = true } },
})

local data = perilune.json.decode(answer.content)
if data == nil then
  print(("%s/%s did not answer in JSON: %s"):format(answer.provider, answer.model, answer.content))
  return
end

local is_right, misses = schema.compile(moon):validate(data)
if is_right then
  print(("%s has a radius of %g km."):format(data.name, data.radius_km))
else
  for _, miss in ipairs(misses) do
    print(("%s %s"):format(miss.path, miss.message))
  end
end
