local kit = require "tests.support.server"


describe("a stream of events", function()
  it("that a script has not closed ends with its request, and gets no more comments", function()
    local server <close> = kit.start { define = function(perilune)
      perilune.route("GET /events", function(request)
        request:events():send { n = 1 }
      end)
    end }
    local answer = server:get "/events"
    assert.are.equal('data: {"n":1}\n\n', answer.text)
    assert.is_truthy(answer.error)
    assert.is_nil(next(server.server.streams))
  end)
end)
