-- perilune test: busted specs inside the host, so that they can wait, fetch and serve.
local options = require "perilune.cli.options"
local task = require "perilune.sys.task"

-- Specs may compute for as long as they like; a test that hangs is ended by perilune.testing.busted.
local SLICE_SECONDS = 1e6

local M = {
  usage = "test [OPTION...] [PATH...] [-- BUSTED-OPTION...]",
  summary = [[
Runs busted specs (files *_spec.lua, ./spec by default) inside the host. After each test nothing may be left over: no
task, no request. Needs the package lua-busted.]],
  options = {
    { names = { "--counts" }, key = "counts", value = "FILE", help = "write `N passed, N failed, N skipped` there" },
  },
  examples = { "", "spec/weather_spec.lua", "tests/unit -- --filter='keeps the order'" },
}


function M.run(values, words)
  local runner = package.searchpath("busted.runner", package.path)
  if not runner then
    options.fail("test: busted is not installed (Debian package lua-busted)")
  end
  words[0] = "perilune test"
  words[#words + 1] = "--helper=perilune.testing.helper"
  package.preload["perilune.testing.helper"] = function() -- required by busted once it can be subscribed to
    require("perilune.testing.busted").install(require "busted", values.counts)
    return true
  end
  rawset(_G, "arg", words)
  task.slice(SLICE_SECONDS)
  require "busted.runner" { standalone = false }
  return 0
end


return M
