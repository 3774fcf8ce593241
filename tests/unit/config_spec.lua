local config = require "perilune.config"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"


-- The settings out of a configuration file with this text; `nil, err` for what is wrong with it.
local function load_text(text)
  local folder = assert(fs.temp_dir("perilune-config"))
  local path = folder .. "/config.lua"
  assert(fs.write(path, text))
  local ok, settings, err = pcall(config.load, { config = path })
  assert(fs.remove(folder, { recursive = true }))
  if not ok then
    return nil, settings
  end
  return settings, err
end


describe("configured prices", function()
  it("are dollars per million tokens, by provider and model", function()
    local settings = assert(load_text('return { prices = { ["openai/my-model"] = { input = 1.5, cached = 0, output = 6 } } }'))
    assert.are.same({ ["openai/my-model"] = { input = 1.5, cached = 0, output = 6 } }, settings.prices)
  end)

  for text, problem in pairs {
    ['{ ["openai/m"] = { input = 1 } }'] = "needs 'input' and 'output'",
    ['{ ["openai/m"] = { input = 1, output = -1 } }'] = "option 'output' must not be negative",
    ['{ ["openai/m"] = { input = 0/0, output = 1 } }'] = "option 'input' must not be negative",
    ['{ ["openai/m"] = { input = 1, outptu = 1 } }'] = "did you mean 'output'",
    ['{ ["openai/m"] = 5 }'] = "must be a table",
    ['{ ["my-model"] = { input = 1, output = 1 } }'] = "must be named provider/model",
    ["{ { input = 1, output = 1 } }"] = "must be named provider/model",
    ["5"] = "must be a table",
  } do
    it("are refused when they are " .. text, function()
      local settings, err = load_text("return { prices = " .. text .. " }")
      assert.is_nil(settings)
      assert.is_true(errors.is(err, "configuration"))
      assert.is_truthy(tostring(err):find(problem, 1, true), tostring(err))
      assert.is_truthy(tostring(err):find("config.lua", 1, true), tostring(err))
    end)
  end
end)


describe("what is configured of the server and of credits", function()
  it("is lists of texts, and numbers from 1 on", function()
    assert(load_text [[return {
      serve = { cors = { "*" }, trusted_proxies = { "10.0.0.1", "::1" }, hosts = { "a" }, extra_fields = {}, run_expires_seconds = 1,
        connections_per_address = 1 },
      credits = { max_output_tokens = 1, bands = { small = { models = { "offline/*" }, input = 0 } } },
    }]])
  end)

  for text, problem in pairs {
    ["serve = { cors = { 5 } }"] = "serve.cors[1] must be a string, got 5",
    ["serve = { cors = { origin = 'https://a' } }"] = "serve.cors must be a list",
    ["serve = { hosts = { true } }"] = "serve.hosts[1] must be a string",
    ["serve = { extra_fields = { {} } }"] = "serve.extra_fields[1] must be a string",
    ["serve = { trusted_proxies = { '127.0.0.0/8' } }"] = "serve.trusted_proxies[1] must be one address, like 10.0.0.1",
    ["serve = { trusted_proxies = { '::1', 'localhost' } }"] = "serve.trusted_proxies[2] must be one address",
    ["serve = { run_expires_seconds = -5 }"] = "'run_expires_seconds' must be at least 1",
    ["serve = { connections_per_address = 0 }"] = "'connections_per_address' must be at least 1",
    ["serve = { requests = 5 }"] = "unknown option 'requests'",
    ["serve = 5"] = "'serve' must be a table",
    ["credits = { max_output_tokens = 0 }"] = "'max_output_tokens' must be at least 1",
    ["credits = { bands = { small = { input = 1 } } }"] = "bands['small']: models must be a table, got nil",
    ["credits = { bands = { small = { models = {} } } }"] = "bands['small']: models must be a list of patterns",
  } do
    it("is refused when it is " .. text, function()
      local settings, err = load_text("return { " .. text .. " }")
      assert.is_nil(settings)
      assert.is_true(errors.is(err, "configuration"))
      assert.is_truthy(tostring(err):find(problem, 1, true), tostring(err))
    end)
  end
end)


describe("the lines of a .env file", function()
  it("are names and values, with quotes, escapes, export and comments", function()
    local values, bad = config.parse_env(table.concat({
      "\xEF\xBB\xBFPLAIN=a b # comment", "  export SPACED = x\r", "# a comment", "", 'DOUBLE="a # b\\n\\"c\\"" # comment',
      "SINGLE='a \\n b'", "EMPTY=", "NOTHING= # only a comment", "HASH=a#b", 'PATH_LIKE="C:\\x"',
    }, "\n"))
    assert.are.same({
      PLAIN = "a b", SPACED = "x", DOUBLE = 'a # b\n"c"', SINGLE = "a \\n b", EMPTY = "", NOTHING = "", HASH = "a#b", PATH_LIKE = "C:\\x",
    }, values)
    assert.are.same({}, bad)
  end)

  it("that are none of this are left out, and told of by their numbers", function()
    local values, bad = config.parse_env("A=1\n\nno value\n1X=2\nB=\"open\nC='a' b\nD=4\n")
    assert.are.same({ A = "1", D = "4" }, values)
    assert.are.same({ 3, 4, 5, 6 }, bad)
  end)
end)
