-- Citations in one shape, whatever a vendor calls them: annotations (OpenAI, OpenRouter), citations and search results
-- (Perplexity), citations of a block of text (Anthropic) or of a span of it (Cohere), grounding (Gemini). The vendor's own
-- object stays beside it as `raw`. Indexes count in the text of the answer, as the vendor counts (Gemini: bytes); places
-- inside a source are in `raw` only.
local M = {}

---An answer with more citations than this keeps the first ones.
M.CITATIONS_MAX = 1000

local methods = {}
local metatable = { __name = "perilune.model.provider.citations", __index = methods }


local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end


local function list(value)
  return type(value) == "table" and value or {}
end


local function index(value)
  return math.type(value) == "integer" and value >= 0 and value or nil
end


---An annotation of OpenAI's: nested in chat.completions, flat in Responses.
---@param annotation table
---@return perilune.Citation
function M.from_annotation(annotation)
  local inner = text(annotation.type) and annotation[annotation.type]
  inner = type(inner) == "table" and inner or annotation
  local first, last = index(inner.start_index), index(inner.end_index)
  if not first or not last or last == 0 then -- some gateways say 0 and 0 for "somewhere"
    first, last = nil, nil
  end
  return {
    url = text(inner.url), title = text(inner.title) or text(inner.filename) or text(inner.name), text = text(inner.content),
    start_index = first, end_index = last, raw = annotation,
  }
end


---One of Perplexity's: an address alone, or a search result.
---@param source string|table
---@return perilune.Citation
function M.from_source(source)
  if type(source) == "string" then
    return { url = source, raw = source }
  end
  return { url = text(source.url), title = text(source.title), text = text(source.snippet), raw = source }
end


---One of Anthropic's, of whatever kind of place.
---@param citation table
---@return perilune.Citation
function M.from_anthropic(citation)
  return {
    url = text(citation.url) or text(citation.source), title = text(citation.title) or text(citation.document_title),
    text = text(citation.cited_text), raw = citation,
  }
end


---A collection for one choice of one answer, that knows what it had before: some vendors repeat themselves.
---@param choice integer?
---@return table
function M.new(choice)
  return setmetatable({ choice = choice, known = {}, count = 0 }, metatable)
end


---Appends the event of a citation that was not seen yet.
---@param events table[]
---@param citation perilune.Citation
function methods:add(events, citation)
  local key = ("%s\0%s\0%s\0%s\0%s"):format(
    citation.url, citation.title, citation.text, citation.start_index, citation.end_index)
  if self.known[key] or self.count >= M.CITATIONS_MAX then
    return
  end
  self.known[key], self.count = true, self.count + 1
  events[#events + 1] = { type = "citation", citation = citation, choice = self.choice }
end


---Takes the annotations in the messages of a Responses answer.
---@param events table[]
---@param items table[]
function methods:add_items(events, items)
  for _, item in ipairs(items) do
    for _, part in ipairs(item.type == "message" and list(item.content) or {}) do
      for _, annotation in ipairs(type(part) == "table" and list(part.annotations) or {}) do
        if type(annotation) == "table" then
          self:add(events, M.from_annotation(annotation))
        end
      end
    end
  end
end


---Takes a citation of Cohere's, once for each of its sources.
---@param events table[]
---@param citation table
function methods:add_sources(events, citation)
  for _, source in ipairs(list(citation.sources)) do
    if type(source) == "table" then
      local document = list(source.document)
      self:add(events, {
        url = text(document.url), title = text(document.title) or text(source.id), raw = citation,
        text = text(document.snippet) or text(document.text), start_index = index(citation.start), end_index = index(citation["end"]),
      })
    end
  end
end


local function from_chunk(chunk, segment, raw)
  local source = list(chunk.web or chunk.retrievedContext)
  return {
    url = text(source.uri), title = text(source.title), text = text(source.text), raw = raw,
    start_index = segment and (index(segment.startIndex) or 0), end_index = segment and index(segment.endIndex),
  }
end


---Takes what Gemini says an answer is grounded on: each source of each span, or the sources where there are no spans.
---@param events table[]
---@param grounding any
function methods:add_grounding(events, grounding)
  local chunks, supports = list(list(grounding).groundingChunks), list(list(grounding).groundingSupports)
  for _, support in ipairs(supports) do
    local segment = type(support) == "table" and type(support.segment) == "table" and support.segment
    for _, position in ipairs(segment and list(support.groundingChunkIndices) or {}) do
      local chunk = chunks[(index(position) or -1) + 1]
      if type(chunk) == "table" then
        self:add(events, from_chunk(chunk, segment, { chunk = chunk, support = support }))
      end
    end
  end
  for _, chunk in ipairs(self.count == 0 and chunks or {}) do
    if type(chunk) == "table" then
      self:add(events, from_chunk(chunk, nil, { chunk = chunk }))
    end
  end
end


---@class perilune.Citation
---@field url? string
---@field title? string of the source
---@field text? string the words of the source
---@field start_index? integer where in the answer, as the vendor counts
---@field end_index? integer
---@field raw table|string what the vendor said

return M
