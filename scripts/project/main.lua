-- Asks the assistant: perilune run main.lua "What's the weather in Rome?"
-- The thread is kept: the next run remembers this one.
local perilune = require "perilune"

local forecaster = require "forecaster"

local run = perilune.thread("main"):run(forecaster, arg[1] or "What's the weather in Paris?")
print(run.content)
