local secrets = require "perilune.net.secrets"

describe("a secret", function()
  it("is known by the name that it goes under", function()
    for _, name in ipairs { "Authorization", "X-Api-Key", "api-key", "key", "Set-Cookie", "X-Amz-Signature", "access_token", "sig" } do
      assert.is_true(secrets.is_name(name), name)
    end
    for _, name in ipairs { "content-type", "max_tokens", "monkey", "alt", "api-version", "x-request-id" } do
      assert.is_false(secrets.is_name(name), name)
    end
  end)

  it("is hidden in an address, whose other parts stay as they are", function()
    for url, shown in pairs {
      ["https://api.example.com/v1"] = "https://api.example.com/v1",
      ["https://user:pass@api.example.com/v1"] = "https://api.example.com/v1",
      ["http://user:p@ss@127.0.0.1:8080/a@b"] = "http://127.0.0.1:8080/a@b",
      ["https://x.example/v1?alt=sse&key=abc"] = "https://x.example/v1?alt=sse&key=[redacted]",
      ["https://x.example/i.png?X-Amz-Signature=abc&w=3#part"] = "https://x.example/i.png?X-Amz-Signature=[redacted]&w=3",
    } do
      assert.are.equal(shown, secrets.hide_in_url(url))
    end
  end)
end)
