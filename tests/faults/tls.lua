-- A TLS server whose certificate has something wrong with it.
local fs = require "perilune.sys.fs"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local M = {}

local PATIENCE_SECONDS = 10

-- What is in a certificate, and whether its client trusts it.
local certificates = {
  unknown = { name = "IP:127.0.0.1", days = "1", is_trusted = false },
  expired = { name = "IP:127.0.0.1", days = "-1", is_trusted = true },
  elsewhere = { name = "DNS:elsewhere.test", days = "1", is_trusted = true },
  good = { name = "IP:127.0.0.1", days = "1", is_trusted = true },
}

local metatable = { __name = "tests.faults.tls" }
metatable.__index = metatable


local function run(argv)
  local result = assert(proc.run { argv = argv })
  assert(result.status == 0, result.stderr)
end


-- Makes a certificate that signs itself; returns its path and that of its key.
local function make(folder, what)
  local path, wanted = folder .. "/" .. what, certificates[what]
  assert(fs.write(path .. ".ext", "subjectAltName=" .. wanted.name))
  run {
    "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
    "-keyout", path .. ".key", "-out", path .. ".csr",
  }
  run {
    "openssl", "x509", "-req", "-in", path .. ".csr", "-signkey", path .. ".key", "-days", wanted.days, "-extfile", path .. ".ext",
    "-out", path .. ".pem",
  }
  return path .. ".pem", path .. ".key"
end


local function read_until(self, pattern)
  while not self.said:find(pattern) do
    self.said = self.said .. assert(self.child:read())
  end
  local found = self.said:match(pattern)
  self.said = ""
  return found
end


---Starts a server with such a certificate. Own it with `<close>`.
---@param folder string
---@param what "unknown"|"expired"|"elsewhere"|"good"
---@param options? string[] more for `openssl s_server`
---@return { url: string, ca_file: string?, child: perilune.ProcChild } server
function M.serve(folder, what, options)
  local certificate, key = make(folder, what)
  local argv = { "openssl", "s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate }
  table.move(options or {}, 1, #(options or {}), #argv + 1, argv)
  local self = setmetatable({ child = assert(proc.start { argv = argv }), said = "" }, metatable)
  self.url = "https://127.0.0.1:" .. self:wait_for("ACCEPT 127%.0%.0%.1:(%d+)")
  self.ca_file = certificates[what].is_trusted and certificate or nil
  return self
end


---Waits until what it prints, the requests of its clients included, has this pattern.
---@param pattern string
---@return string match
function metatable:wait_for(pattern)
  return task.deadline(PATIENCE_SECONDS, read_until, self, pattern)
end


---Sends bytes to the client.
---@param bytes string
function metatable:write(bytes)
  assert(self.child:write(bytes))
end


function metatable:close()
  self.child:close()
end


metatable.__close = metatable.close

return M
