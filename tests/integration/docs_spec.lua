-- The examples of the documentation under the real program: a block ```lua run must succeed with the offline model and a new
-- database, and print what the ```text block right after it says.
local frames = require "tests.support.frames"
local programs = require "tests.support.program"


-- The runnable blocks of a page: { line, code, output? }.
local function examples(path)
  local list, block, number, is_after = {}, nil, 0, false
  for line in (assert(frames.read(path)) .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    if block and line == "```" then
      is_after, block = block.kind == "lua run", nil
    elseif block then
      block.lines[#block.lines + 1] = line
    elseif line:find("^```") then
      block = { kind = line:sub(4), line = number, lines = {} }
      if block.kind == "lua run" then
        list[#list + 1] = block
      elseif block.kind == "text" and is_after then
        list[#list].output = block.lines
      end
      is_after = false
    elseif line ~= "" then
      is_after = false
    end
  end
  return list
end


for path, least in pairs { ["README.md"] = 1, ["docs/manual.md"] = 9, ["docs/tools.md"] = 5, ["docs/workflows.md"] = 2 } do
  describe("the examples of " .. path, function()
    local list = examples(path)

    it("are found", function()
      assert.is_true(#list >= least, ("only %d examples"):format(#list))
    end)

    for _, example in ipairs(list) do
      it(("run: line %d"):format(example.line), function()
        local program <close> = programs.new()
        program:file("example.lua", table.concat(example.lines, "\n"))
        local result = program:run { "run", "example.lua" }
        assert.are.same({ 0, "" }, { result.status, result.stderr })
        if example.output then
          assert.are.equal(table.concat(example.output, "\n") .. "\n", result.stdout)
        else
          assert.is_truthy(result.stdout:find("%S"), "it prints nothing")
        end
      end)
    end
  end)
end
