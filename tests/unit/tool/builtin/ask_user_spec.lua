local ask_user = require "perilune.tool.builtin.ask_user"
local json = require "perilune.json"
local proc = require "perilune.sys.proc"
local tool = require "perilune.tool"


local function call(tested, arguments, context)
  return tool.call(tested, assert(json.encode(arguments)), context or {})
end


describe("perilune.tools.ask_user", function()
  it("asks whom the script names", function()
    local asked
    local tested = ask_user.new { ask = function(question, choices)
      asked = { question, choices }
      return "blue"
    end }
    assert.equal("blue", call(tested, { question = "Which colour?" }).content)
    assert.same({ "Which colour?" }, asked)
    call(tested, { question = "Which?", choices = { "red", "blue" } })
    assert.same({ "red", "blue" }, { table.unpack(asked[2]) })
  end)

  it("asks whom the context names, unless the script has said", function()
    local context = { ask = function() return "from the context" end }
    assert.equal("from the context", call(ask_user.new(), { question = "?" }, context).content)
    local own = ask_user.new { ask = function() return "from the script" end }
    assert.equal("from the script", call(own, { question = "?" }, context).content)
  end)

  it("takes the number of a choice for the choice", function()
    local answers = { "2", " 1. ", "3", "green", "2 of them" }
    local tested = ask_user.new { ask = function() return table.remove(answers, 1) end }
    for _, expected in ipairs { "blue", "red", "3", "green", "2 of them" } do
      assert.equal(expected, call(tested, { question = "Which?", choices = { "red", "blue" } }).content)
    end
  end)

  it("says that there is no answer", function()
    local silent = ask_user.new { ask = function() end }
    assert.equal("Error: tool 'ask_user': the user did not answer", call(silent, { question = "?" }).content)
    local failing = ask_user.new { ask = function() return nil, "gone for lunch" end }
    assert.equal("Error: tool 'ask_user': gone for lunch", call(failing, { question = "?" }).content)
    local empty = ask_user.new { ask = function() return " " end }
    assert.equal("[the user's answer is empty]", call(empty, { question = "?" }).content)
  end)

  it("says that there is no terminal", function()
    if proc.is_tty(0) then
      return -- somebody runs the tests by hand; tests/integration/builtin_tools_spec.lua has no terminal, and one
    end
    local result = call(ask_user.new(), { question = "Anybody there?" })
    assert.is_true(result.is_error)
    assert.equal("Error: tool 'ask_user': nobody can be asked: standard input is not a terminal", result.content)
  end)

  it("has no time limit of its own, and may not be run again", function()
    assert.is_nil(ask_user.new().timeout)
    assert.is_false(ask_user.new().idempotent)
    assert.equal(5, ask_user.new({ timeout = 5 }).timeout)
  end)
end)
