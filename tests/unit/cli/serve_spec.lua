-- perilune serve: what it makes of its options and of the configuration. The process is in tests/integration/serve_cli_spec.lua.
local apps = require "perilune.app"
local command = require "perilune.cli.serve"
local errors = require "perilune.std.errors"
local serve = require "perilune.sys.serve"


describe("perilune serve", function()
  local listen = serve.listen

  after_each(function()
    serve.listen = listen
  end)

  it("listens with what is configured of connections", function()
    local asked
    function serve.listen(options)
      asked = options
      return nil, errors.new { kind = "connection", message = "that is enough" }
    end
    local app <close> = apps.new { db = ":memory:", serve = { connections_per_address = 7 } }
    local _, err = pcall(command.run, { listen = "127.0.0.1:8081", connections = 20 }, {}, app)
    assert.are.equal("that is enough", err.message)
    assert.are.same({ host = "127.0.0.1", port = 8081, connections = 20, connections_per_address = 7 }, asked)
  end)
end)
