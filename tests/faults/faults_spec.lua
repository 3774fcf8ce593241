-- Every line of docs/faults.md that is a script, played.
local ask = require "tests.faults.ask"
local cases = require "tests.faults.cases"
local fs = require "perilune.sys.fs"
local proc = require "perilune.sys.proc"
local servers = require "tests.faults.server"
local tables = require "tests.faults.table"
local tls = require "tests.faults.tls"
local worlds = require "tests.faults.world"

local FAULTS = 74

local rows, names, titles = tables.read()
local folder


local function gzip(bytes)
  return assert(proc.run { argv = { "gzip", "-c" }, stdin = bytes }).stdout
end


-- The world of a line: where its provider is, and how it is asked.
local plays = {}


function plays.script(row, server)
  return cases.play(row, names, { server = server, folder = folder })
end


function plays.tls(row, server)
  local peer <close> = tls.serve(folder, row.plays.tls)
  return cases.play(row, names, { server = server, url = peer.url, settings = { ca_file = peer.ca_file } })
end


-- Names are resolved in a process of its own, whose resolver is ours.
function plays.names(row, server)
  local program <close>, set = worlds.program()
  set(row.plays.names)
  return cases.play(row, names, { server = server, url = "http://provider.test", ask = function(question)
    return ask.ask_in(program, { question })[1]
  end })
end


describe("fault", function()
  setup(function()
    folder = assert(fs.temp_dir("perilune-faults"))
    local answer = tables.expand("words end", names.streamed)
    local frames = {}
    for frame in answer:gmatch("send '([^']*)'") do
      frames[#frames + 1] = frame:gsub("\\n", "\n")
    end
    assert(fs.write(folder .. "/words.gz", gzip(table.concat(frames))))
    assert(fs.write(folder .. "/flood.gz", gzip(("\n"):rep(20 << 20))))
  end)

  teardown(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  for _, row in ipairs(rows) do
    if row.plays then
      it(row.name, function()
        local server <close> = servers.start()
        local play = row.plays.tls and plays.tls or row.plays.names and plays.names or plays.script
        assert.are.same({}, play(row, server))
      end)
    end
  end
end)


describe("docs/faults.md", function()
  it("has a line for each of the faults", function()
    for number = 1, FAULTS do
      assert.is_truthy(titles[number], "there is no line for fault " .. number)
    end
  end)
end)
