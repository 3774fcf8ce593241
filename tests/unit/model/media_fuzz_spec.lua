-- Whatever bytes a provider answers with: the decoders of images, embeddings and lists of models return a result or an error,
-- and never raise.
local errors = require "perilune.std.errors"
local provider = require "perilune.model.provider"

local SEED, ROUNDS = 20, 150

local answers = {
  '{"created":1,"output_format":"png","data":[{"b64_json":"iVBORw0KGgo=","url":null,"revised_prompt":"x"}],"usage":{"input_tokens":1}}',
  '{"id":"1","base64":["data:image/png;base64,iVBORw0KGgo="],"finishReason":"SUCCESS"}',
  '{"candidates":[{"content":{"parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]}}]}',
  '{"promptFeedback":{"blockReason":"SAFETY"},"candidates":[{"finishReason":"IMAGE_SAFETY"}],"usageMetadata":{"promptTokenCount":1}}',
  '{"data":[{"index":0,"embedding":[1,0.5]},{"index":1,"embedding":"AACAPw=="}],"usage":{"prompt_tokens":1,"total_tokens":1}}',
  '{"embeddings":{"float":[[1,2]]},"meta":{"billed_units":{"input_tokens":1}}}', '{"embeddings":[{"values":[1,2]},[0.5]]}',
  '{"data":[{"id":"m","display_name":"M","context_length":5}],"models":[{"name":"models/m","model":"m","inputTokenLimit":5}]}',
}

local pieces = { "null", "7", "{}", "[]", '"x"', ",", "]", "}", "-1", "1e999", "true", "" }


-- One piece of the text replaced; the same for the same state.
local function mutate(text, random)
  local from = random(#text)
  return text:sub(1, from - 1) .. pieces[random(#pieces)] .. text:sub(from + random(6))
end


-- A small generator of its own, so that a failure can be repeated.
local function generator(state)
  return function(n)
    state = (state * 6364136223846793005 + 1442695040888963407) & math.maxinteger
    return (state >> 24) % n + 1
  end
end


describe("the decoders of whole answers", function()
  for _, family in ipairs { "images", "embeddings", "catalogue" } do
    it(("never raise (%s)"):format(family), function()
      local random = generator(SEED)
      for _, name in ipairs { "openai", "fireworks", "gemini", "cohere", "ollama", "anthropic" } do
        local decode = (provider.get(name)[family] or {}).decode
        for round = 1, decode and ROUNDS * #answers or 0 do
          local text = answers[round % #answers + 1]
          for _ = 1, random(3) do
            text = mutate(text, random)
          end
          local result, err = decode(random(5) == 1 and 400 or 200, text)
          assert.is_true(type(result) == "table" or errors.is(err), text)
        end
      end
    end)
  end
end)
