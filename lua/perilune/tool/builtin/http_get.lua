-- perilune.tools.http_get: pages of the public web. Every connection is checked by the address that the resolver gave, in C, so
-- that no name, spelling or redirect leads into the network around this host. Nothing that could identify this host is sent:
-- no credentials, no cookies, and no proxy is used.
local check = require "perilune.std.check"
local definition = require "perilune.tool.definition"
local errors = require "perilune.std.errors"
local fetch = require "perilune.sys.fetch"
local html = require "perilune.tool.builtin.html"
local settings = require "perilune.tool.builtin.settings"
local text = require "perilune.std.text"
local urls = require "perilune.tool.builtin.url"

local M = {}

M.SECONDS = 20 -- of one call, redirects included, when the options do not say
M.BYTES = 1024 * 1024 -- read of a page, when the options do not say
M.ANSWER_BYTES = 60 * 1024 -- shown of it
M.REDIRECTS = 3

---@class perilune.HttpGetOptions : perilune.BuiltinOptions
---@field allow? string[] ranges beside the public Internet: "10.0.0.0/8", "127.0.0.1", "fd00::/8"
---@field types? string[] content types beside text, JSON, XML and the like
---@field bytes? integer read of a page; default BYTES

-- Besides text/*, and whatever ends in +json or +xml.
local text_types = {
  ["application/json"] = true, ["application/xml"] = true, ["application/javascript"] = true, ["application/yaml"] = true,
  ["application/x-yaml"] = true, ["application/x-ndjson"] = true, ["application/jsonl"] = true, ["application/toml"] = true,
  ["application/sql"] = true, ["application/graphql"] = true, ["application/rtf"] = true,
}

local is_redirect = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }


local function is_text(media_type, types)
  return media_type:find("^text/") or media_type:find("%+json$") or media_type:find("%+xml$") or text_types[media_type]
    or types[media_type]
end


-- Reads until `bytes` are there; whether there was more.
local function read_body(handle, bytes)
  local parts, size = {}, 0
  while size <= bytes do
    local part, err = handle:next()
    if not part then
      return table.concat(parts), false, err
    end
    parts[#parts + 1], size = part, size + #part
  end
  return table.concat(parts):sub(1, bytes), true
end


local function explain(err, url)
  local why = err.message
  if err.code == "permission" then
    why = why .. ". Only addresses of the public Internet are fetched"
  end
  return nil, errors.new { kind = "tool", code = err.code, message = ("%s: %s"):format(url, why), cause = err }
end


-- One exchange: where it redirects to, or the page { url, status, media_type, body, is_cut }.
local function exchange(self, url, types)
  local handle <close>, open_error = fetch.open {
    url = url, addresses = self.addresses, connect = 10, frame = "bytes",
    headers = { ["user-agent"] = "perilune", accept = "text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1" },
  }
  local head, err = nil, open_error
  if handle then
    head, err = handle:head()
  end
  if not head then
    return explain(err, url)
  elseif is_redirect[head.status] and head.headers.location then
    return { location = urls.resolve(url, head.headers.location) }
  end
  local media_type = (head.headers["content-type"] or "text/plain"):match("^%s*([^;,%s]*)"):lower()
  if not is_text(media_type, types) then
    return settings.failure("type", ("%s: status %d, its type %s is not text"):format(url, head.status, media_type))
  end
  local body, is_cut
  body, is_cut, err = read_body(handle, self.bytes)
  if err then
    return explain(err, url)
  end
  return { url = url, status = head.status, media_type = media_type, body = body, is_cut = is_cut }
end


-- Follows redirects, each checked like the first address.
local function get(self, url, types)
  for _ = 0, M.REDIRECTS do
    local checked, problem = urls.check(url)
    if not checked then
      return settings.failure("address", ("%s: %s"):format(text.truncate(text.to_utf8(url), 200), problem))
    end
    local page, err = exchange(self, checked, types)
    if not page then
      return nil, err
    elseif not page.location then
      return page
    end
    url = page.location
  end
  return settings.failure("redirects", ("more than %d redirects, the last one to %s"):format(M.REDIRECTS, url))
end


-- What the model reads: a line about the page, the page, and what is not shown of it.
local function render(self, page)
  local notes = {}
  local body = text.to_utf8(page.body)
  if page.is_cut then
    notes[#notes + 1] = ("only its first %d bytes were read"):format(self.bytes)
  end
  if page.media_type == "text/html" or page.media_type == "application/xhtml+xml" then
    local left_out
    body, left_out = html.to_text(body)
    notes[#notes + 1] = "reduced to its text" .. (left_out and ", without " .. left_out or "")
  elseif body:find("\0", 1, true) then
    return settings.failure("type", ("%s: it is called %s, and is not text"):format(page.url, page.media_type))
  end
  if #body > M.ANSWER_BYTES then
    notes[#notes + 1] = ("only the beginning of %d bytes of text is shown"):format(#body)
    body = text.truncate(body, M.ANSWER_BYTES)
  end
  local about = #notes > 0 and (" (%s)"):format(table.concat(notes, "; ")) or ""
  return ("%s\nstatus %d, %s%s\n\n%s"):format(page.url, page.status, page.media_type, about, body)
end


-- The option `allow`: the C module says what is no range, and nothing is connected to.
local function addresses_of(where, options)
  local allow = check.list(where .. ": allow", options.allow or {}, "string", 3)
  for _, range in ipairs(allow) do
    if not fetch.is_range(range) then
      check.fail(("%s: allow: '%s' is no address or range such as 10.0.0.0/8 or ::1"):format(where, range), 3)
    end
  end
  return table.move(allow, 1, #allow, 1, {})
end


---A tool that fetches pages.
---@param options? perilune.HttpGetOptions
---@return perilune.Tool
function M.new(options)
  local where = "perilune.tools.http_get"
  options = settings.read(where, options, { allow = "table", types = "table", bytes = "integer" })
  local self = { addresses = addresses_of(where, options), bytes = options.bytes or M.BYTES }
  local types = {}
  for _, name in ipairs(check.list(where .. ": types", options.types or {}, "string")) do
    types[name:lower()] = true
  end
  return definition.define {
    name = options.name or "http_get",
    description = "Fetch a page or document of the public web by its address, as text. Nothing can be sent with it.",
    parameters = { url = "string: an address that begins with http:// or https://" },
    idempotent = true,
    timeout = options.timeout or M.SECONDS,
    approval = options.approval,
    run = function(arguments)
      local page, err = get(self, arguments.url, types)
      if not page then
        return nil, err
      end
      return render(self, page)
    end,
  }
end


return M
