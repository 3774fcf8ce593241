local fetch = require "perilune.sys.fetch"
local http_get = require "perilune.tool.builtin.http_get"
local json = require "perilune.json"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"
local tool = require "perilune.tool"


-- A server whose handler gets every request; `use` gets its port.
local function with_server(handler, use)
  local group <close> = task.group()
  local server <close> = assert(serve.listen { host = "127.0.0.1", port = 0 }) -- closed first: that ends its tasks
  group:spawn(function()
    local handlers <close> = task.group()
    while true do
      local request = server:accept()
      if not request then
        break
      end
      handlers:spawn(function()
        local own <close> = request
        handler(own)
      end)
    end
  end)
  use(server:port())
  server:close()
end


local function call(tested, url)
  return tool.call(tested, assert(json.encode { url = url }), {})
end


local function good(tested, url)
  local result = call(tested, url)
  assert.is_false(result.is_error, result.content)
  return result.content
end


local function bad(tested, url)
  local result = call(tested, url)
  assert.is_true(result.is_error, result.content)
  return result.content
end


-- A server that answers what `pages` says for a path, and a tool that may go there.
local function with_pages(pages, use, options)
  options = options or {}
  options.allow = { "127.0.0.1" }
  with_server(function(request)
    local page = pages[request:path()] or { status = 404, body = "no such page", headers = { ["content-type"] = "text/plain" } }
    if type(page) == "function" then
      page(request)
    else
      request:reply(page)
    end
  end, function(port)
    use("http://127.0.0.1:" .. port, http_get.new(options))
  end)
end


local function page(media_type, body, status)
  return { status = status or 200, body = body, headers = { ["content-type"] = media_type } }
end


describe("perilune.tools.http_get", function()
  it("gives texts as they are", function()
    with_pages({
      ["/json"] = page("application/json; charset=utf-8", '{"a":1}'), ["/plain"] = page("TEXT/Plain", "héllo"),
      ["/none"] = { body = "no type" }, ["/feed"] = page("application/atom+xml", "<feed/>"), ["/error"] = page("text/plain", "broken", 500),
    }, function(url, tested)
      assert.equal(url .. '/json\nstatus 200, application/json\n\n{"a":1}', good(tested, url .. "/json"))
      assert.equal(url .. "/plain\nstatus 200, text/plain\n\nhéllo", good(tested, url .. "/plain#part"))
      assert.equal(url .. "/none\nstatus 200, text/plain\n\nno type", good(tested, url .. "/none"))
      assert.equal(url .. "/feed\nstatus 200, application/atom+xml\n\n<feed/>", good(tested, url .. "/feed"))
      assert.equal(url .. "/error\nstatus 500, text/plain\n\nbroken", good(tested, url .. "/error"))
      assert.equal(url .. "/gone\nstatus 404, text/plain\n\nno such page", good(tested, url .. "/gone"))
    end)
  end)

  it("reduces pages to their text and says so", function()
    with_pages({ ["/"] = page("text/html", "<title>T</title><script>x</script><p>one <a href='/b'>b</a>") }, function(url, tested)
      assert.equal(url .. "/\nstatus 200, text/html (reduced to its text, without script)\n\nT\n\none [b](/b)", good(tested, url .. "/"))
    end)
  end)

  it("refuses what is no text", function()
    with_pages({
      ["/png"] = page("image/png", "\x89PNG"), ["/lie"] = page("text/plain", "a\0b"), ["/own"] = page("application/x-own", "mine"),
    }, function(url, tested)
      assert.equal(("Error: tool 'http_get': %s/png: status 200, its type image/png is not text"):format(url), bad(tested, url .. "/png"))
      assert.is_truthy(bad(tested, url .. "/lie"):find("it is called text/plain, and is not text", 1, true))
      assert.is_truthy(bad(tested, url .. "/own"):find("is not text", 1, true))
    end)
    with_pages({ ["/own"] = page("application/x-own", "mine") }, function(url, tested)
      assert.is_truthy(good(tested, url .. "/own"):find("mine", 1, true))
    end, { types = { "Application/X-Own" } })
  end)

  it("reads and shows so much, and says what is missing", function()
    local function endless(request)
      request:start { status = 200, headers = { ["content-type"] = "text/plain" } }
      while request:write(("x"):rep(10000)) do end -- luacheck: ignore 542
    end
    with_pages({ ["/endless"] = endless }, function(url, tested)
      local shown = good(tested, url .. "/endless")
      assert.is_truthy(shown:find("status 200, text/plain (only its first 5000 bytes were read)\n\nxxx", 1, true))
      assert.equal(5000, #shown:match("x+$"))
    end, { bytes = 5000 })
    local long, exact = page("text/plain", ("y"):rep(100000)), page("text/plain", ("z"):rep(60000))
    with_pages({ ["/long"] = long, ["/exact"] = exact }, function(url, tested)
      local shown = good(tested, url .. "/long")
      assert.is_truthy(shown:find("(only the beginning of 100000 bytes of text is shown)", 1, true))
      assert.is_true(#shown < 64 * 1024)
      assert.is_nil(good(tested, url .. "/exact"):find("only", 1, true))
    end)
  end)

  it("has a time limit for everything together", function()
    with_pages({ ["/"] = function(request) request:gone() end }, function(url)
      local tested = http_get.new { allow = { "127.0.0.1" }, timeout = 0.2 }
      assert.is_truthy(bad(tested, url .. "/"):find("ran out of time (its limit is 0.2 s)", 1, true))
    end)
  end)

  it("sends nothing that says who asks", function()
    local headers
    with_pages({ ["/"] = function(request)
      headers = request:headers()
      request:reply(page("text/plain", "x"))
    end }, function(url, tested)
      good(tested, url .. "/")
    end)
    local names = {}
    for i, header in ipairs(headers) do
      names[i] = header[1]:lower()
    end
    table.sort(names)
    assert.same({ "accept", "accept-encoding", "host", "user-agent" }, names)
  end)

  describe("on redirects", function()
    local function to(location, status)
      return { status = status or 302, body = "", headers = { location = location } }
    end

    it("follows three, of any kind", function()
      local pages = { ["/0"] = to("/1", 301), ["/1"] = to("/2", 303), ["/2"] = to("dir/../end?x", 307), ["/start"] = to("0", 308) }
      pages["/end"] = page("text/plain", "found")
      with_pages(pages, function(url, tested)
        assert.equal(url .. "/dir/../end?x\nstatus 200, text/plain\n\nfound", good(tested, url .. "/0"))
        assert.is_truthy(bad(tested, url .. "/start"):find("more than 3 redirects, the last one to " .. url .. "/dir", 1, true))
      end)
    end)

    it("shows those that lead nowhere", function()
      with_pages({ ["/"] = page("text/plain", "lost", 302) }, function(url, tested)
        assert.is_truthy(good(tested, url .. "/"):find("status 302, text/plain\n\nlost", 1, true))
      end)
    end)

    it("checks each one like the first address", function()
      local locations = {
        ["/file"] = "file:///etc/passwd", ["/user"] = "http://user:password@127.0.0.1/",
        ["/metadata"] = "http://169.254.169.254/latest/meta-data/",
        ["/v6"] = "http://[::1]/", ["/private"] = "http://10.0.0.1/", ["/other"] = "//127.0.0.2/x", ["/gopher"] = "gopher://127.0.0.1/x",
        ["/hex"] = "http://0xa9fea9fe/", ["/mapped"] = "http://[::ffff:169.254.169.254]/",
      }
      local pages = {}
      for path, location in pairs(locations) do
        pages[path] = to(location)
      end
      with_pages(pages, function(url, tested)
        for path in pairs(locations) do
          local message = bad(tested, url .. path)
          assert.is_truthy(message:find("is not allowed", 1, true) or message:find("only http and https", 1, true)
            or message:find("user or password", 1, true), path .. ": " .. message)
        end
      end)
    end)
  end)

  it("says why there is no page", function()
    with_pages({}, function(url, tested)
      local port = url:match("%d+$")
      assert.is_truthy(bad(tested, "https://127.0.0.1:" .. port):find("127.0.0.1:" .. port, 1, true))
      assert.is_truthy(bad(tested, "http://no-such-host.invalid/"):find("no-such-host.invalid", 1, true))
      assert.is_truthy(bad(tested, "http://127.0.0.1:1/"):find("http://127.0.0.1:1/: ", 1, true))
      assert.is_truthy(bad(tested, "not an address"):find("spaces", 1, true))
      assert.is_truthy(bad(tested, "http://127.0.0.1:99999/"):find("99999", 1, true))
    end)
  end)

  it("reports wrong options where it is made", function()
    local function misuse(options)
      local ok, err = pcall(function() return (http_get.new(options)) end)
      assert.is_false(ok)
      assert.is_truthy(err.where and err.where:find("http_get_spec.lua", 1, true), tostring(err.where))
      return err.message
    end
    assert.equal("perilune.tools.http_get: unknown option 'alow', did you mean 'allow'?", misuse { alow = {} })
    assert.equal("perilune.tools.http_get: allow: 'localhost' is no address or range such as 10.0.0.0/8 or ::1",
      misuse { allow = { "localhost" } })
    assert.is_truthy(misuse { allow = { 5 } }:find("allow[1] must be a string", 1, true))
    assert.is_truthy(misuse { types = { 5 } }:find("types[1] must be a string", 1, true))
    assert.is_truthy(misuse { timeout = -1 }:find("must be more than 0", 1, true))
  end)
end)


-- Nothing is sent to any of these places: the check is before the connection.
describe("no spelling of this host", function()
  -- Whatever a URL parser, a resolver or a person might take for 127.0.0.1, ::1 or 0.0.0.0.
  local hosts = {
    "127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1", "0x7F000001", "2130706433", "017700000001",
    "127.0.0.1.", "127.255.255.254", "localhost", "localhost.", "LOCALHOST", "LocalHost.", "a.localhost", "0", "0.0.0.0", "0x0", "00",
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:0x7f.1]", "[::127.0.0.1]",
    "[::7f00:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:1::1]", "[::ffff:0:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "[::1%25lo]", "[::1%lo]", "[fe80::1%25lo]", "%31%32%37.0.0.1", "127%2e0%2e0%2e1", "%6cocalhost",
    "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1",
    "\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1", "127\xe3\x80\x820\xe3\x80\x820\xe3\x80\x821", "\xe2\x93\x9bocalhost",
  }

  -- Places next to this host that a request must not reach either; nothing is sent to them.
  local others = {
    "169.254.169.254", "0xa9fea9fe", "2852039166", "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]", "100.100.100.200", "168.63.129.16",
    "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[fc00::1]", "[fe80::1]", "[ff02::1]",
    "[2001:db8::1]", "[2001::1]",
    "012.0.0.1", "167772161", "[2002:a00:1::]", "[64:ff9b::a00:1]",
  }

  it("gets through", function()
    local hits = 0
    with_server(function(request)
      hits = hits + 1
      request:reply(page("text/plain", "secret"))
    end, function(port)
      local tested = http_get.new()
      for _, host in ipairs(hosts) do
        for _, form in ipairs { "http://%s:%d/", "HTTP://%s:%d", "http://%s:%d?x#y" } do
          bad(tested, form:format(host, port))
        end
      end
      for _, host in ipairs(others) do
        assert.is_truthy(bad(tested, ("http://%s:%d/"):format(host, port)):find("is not allowed: it is", 1, true), host)
      end
      assert.equal(0, hits)
      assert.is_truthy(bad(tested,
        ("http://127.1:%d/"):format(port)):find("connecting to 127.0.0.1 is not allowed: it is a loopback address. "
        .. "Only addresses of the public Internet are fetched", 1, true))
    end)
    assert.equal(0, hits)
  end)

  it("gets through when one address is allowed and it is another", function()
    local hits = 0
    with_server(function(request)
      hits = hits + 1
      request:reply(page("text/plain", "mine"))
    end, function(port)
      local other = http_get.new { allow = { "127.0.0.2", "::1", "10.0.0.0/8" } }
      bad(other, ("http://127.0.0.1:%d/"):format(port))
      bad(other, ("http://localhost:%d/"):format(port)) -- ::1 may be tried, where nobody listens
      assert.equal(0, hits)
      local this = http_get.new { allow = { "127.0.0.0/8" } }
      good(this, ("http://0x7f.1:%d/"):format(port))
      good(this, ("http://localhost:%d/"):format(port))
      assert.equal(2, hits)
    end)
  end)

  it("gets through on a connection that another request has left open", function()
    local hits, peers = 0, {}
    with_server(function(request)
      hits = hits + 1
      peers[request:remote()] = true
      request:reply(page("text/plain", "secret"))
    end, function(port)
      local url = ("http://127.0.0.1:%d/"):format(port)
      local allowed, tested = http_get.new { allow = { "127.0.0.1" } }, http_get.new()
      for _ = 1, 5 do
        good(allowed, url)
        bad(tested, url)
        local handle <close> = assert(fetch.open { url = url, frame = "whole" })
        assert.equal("secret", handle:next())
      end
      assert.equal(10, hits)
    end)
    assert.is_truthy(next(peers))
  end)
end)
