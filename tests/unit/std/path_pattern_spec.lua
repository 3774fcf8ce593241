-- Patterns of paths: their segments, and those that no path would fit.
local path_pattern = require "perilune.std.path_pattern"


describe("a pattern of paths", function()
  it("has segments that are written, parameters, and one at the end that takes the rest", function()
    assert.are.same({ { text = "v1" }, { name = "id", is_rest = false }, { text = "a.b" }, { name = "x_2", is_rest = true } },
      path_pattern.parse "/v1/{id}/a.b/{x_2...}")
    assert.are.same({}, path_pattern.parse "/")
    assert.are.same({ { text = "a" } }, path_pattern.parse "/a/")
  end)

  it("is refused when no path would fit, or a parameter would be lost", function()
    for pattern, problem in pairs {
      ["/e/{a...}/b"] = "nothing comes after {a...}", ["/{a-b}/x"] = "'{a-b}' is neither", ["/a/{x"] = "'{x' is neither",
      ["/a/x}"] = "'x}' is neither", ["/a/{}"] = "'{}' is neither", ["/a/{x..}"] = "'{x..}' is neither", ["/v{x}"] = "'v{x}' is neither",
      ["/d/{a}/{a}"] = "'a' is there twice", ["/a//b"] = "nothing between two slashes" } do
      local segments, said = path_pattern.parse(pattern)
      assert.is_nil(segments, pattern)
      assert.matches(problem, said, 1, true)
    end
  end)
end)
