local urls = require "perilune.tool.builtin.url"


describe("addresses of pages", function()
  it("are passed on without their fragment, and in ASCII behind the host", function()
    for given, expected in pairs {
      ["http://example.com"] = "http://example.com", ["HTTPS://example.com/a?b=c#d"] = "HTTPS://example.com/a?b=c",
      ["https://example.com/caf\xc3\xa9?q=\xc3\xa9"] = "https://example.com/caf%C3%A9?q=%C3%A9",
      ["https://m\xc3\xbcnchen.example/\xc3\xbc"] = "https://m\xc3\xbcnchen.example/%C3%BC",
      ["http://example.com:8080?x=@"] = "http://example.com:8080?x=@", ["http://example.com/@user"] = "http://example.com/@user",
      ["http://[::1]:80/"] = "http://[::1]:80/", ["http://example.com#user@evil"] = "http://example.com",
    } do
      assert.equal(expected, urls.check(given))
    end
  end)

  it("are refused with a reason", function()
    for given, part in pairs {
      [""] = "begins with http", ["example.com"] = "begins with http", ["//example.com"] = "begins with http",
      ["http:/example.com"] = "begins with http",
      ["file:///etc/passwd"] = "only http and https", ["ftp://example.com/"] = "only http and https",
      ["gopher://127.0.0.1:70/"] = "only http",
      ["javascript:alert(1)"] = "begins with http", ["http+unix://socket/x"] = "only http",
      ["http://user:password@example.com/"] = "user or password",
      ["http://user@example.com/"] = "user or password", ["http://@example.com/"] = "user or password",
      ["http://a:b@c@d/"] = "user or password",
      ["http://"] = "no host", ["http:///x"] = "no host", ["http://:80/"] = "no host", ["http://?x"] = "no host",
      ["http://example.com\\@127.0.0.1/"] = "backslashes", ["http://exa mple.com"] = "spaces", ["http://a\r\nHost: b"] = "spaces",
      ["http://a\0b"] = "spaces", ["http://a\tb"] = "spaces", [" http://a"] = "spaces", ["http://a/" .. ("x"):rep(8000)] = "longer than",
    } do
      local url, problem = urls.check(given)
      assert.is_nil(url, given)
      assert.is_truthy(problem:find(part, 1, true), given .. ": " .. problem)
    end
  end)

  it("lead where a redirect says", function()
    local base = "https://example.com:8080/a/b/c?x=1/2"
    for location, expected in pairs {
      ["http://other.example/y"] = "http://other.example/y", ["//other.example/y"] = "https://other.example/y",
      ["/y?z"] = "https://example.com:8080/y?z",
      ["y"] = "https://example.com:8080/a/b/y", ["../y"] = "https://example.com:8080/a/b/../y",
      ["?z=2"] = "https://example.com:8080/a/b/c?z=2",
      ["#top"] = base, [""] = base, ["y:z"] = "y:z", ["./y:z"] = "https://example.com:8080/a/b/./y:z",
      ["file:///etc/passwd"] = "file:///etc/passwd",
    } do
      assert.equal(expected, urls.resolve(base, location))
    end
    assert.equal("http://example.com/y", urls.resolve("http://example.com", "y"))
    assert.equal("http://example.com/?y", urls.resolve("http://example.com", "?y"))
    assert.equal("http://example.com/y", urls.resolve("http://example.com?q=/a/b", "y"))
  end)
end)
