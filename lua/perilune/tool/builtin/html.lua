-- A page as text for a model: no browser, one pass from the beginning to the end, whatever the markup is like. Scripts, styles
-- and pictures are left out, links and headings stay visible.
local tables = require "perilune.std.tables"

local M = {}

-- Elements whose content is no text for people.
local dropped = tables.set { "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas", "audio",
  "video", "select", "textarea" }

-- What begins a line of its own.
local blocks = tables.set { "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "dialog", "div",
  "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "main", "nav", "ol",
  "option", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul" }

-- What stands between empty lines, and how it begins.
local paragraphs = { p = "", pre = "", h1 = "# ", h2 = "## ", h3 = "### ", h4 = "#### ", h5 = "##### ", h6 = "###### " }

local entities = {
  amp = "&", lt = "<", gt = ">", quot = '"', apos = "'", nbsp = " ", ndash = "–", mdash = "—", hellip = "…", lsquo = "‘",
  rsquo = "’", ldquo = "“", rdquo = "”", laquo = "«", raquo = "»", bull = "•", middot = "·", copy = "©", reg = "®", trade = "™",
  euro = "€", pound = "£", yen = "¥", cent = "¢", sect = "§", deg = "°", plusmn = "±", times = "×", divide = "÷", frac12 = "½",
  auml = "ä", ouml = "ö", uuml = "ü", Auml = "Ä", Ouml = "Ö", Uuml = "Ü", szlig = "ß", eacute = "é", egrave = "è", agrave = "à",
  ccedil = "ç", ntilde = "ñ", oacute = "ó", aacute = "á", iacute = "í", uacute = "ú", rarr = "→", larr = "←", minus = "−",
  zwnj = "", zwj = "", shy = "",
}

-- 0, surrogates and what is beyond Unicode are nobody's.
local function character(number)
  if not number or number == 0 or number > 0x10FFFF or (number >= 0xD800 and number <= 0xDFFF) then
    return "\u{FFFD}"
  end
  return utf8.char(number)
end


local function decode_entity(entity)
  local hexadecimal, decimal = entity:match("^#[xX](%x+)$"), entity:match("^#(%d+)$")
  if hexadecimal then
    return character(#hexadecimal <= 8 and tonumber(hexadecimal, 16) or nil)
  elseif decimal then
    return character(#decimal <= 8 and tonumber(decimal) or nil)
  end
  return entities[entity]
end


local function decode(text)
  return (text:gsub("&(#?%w+);", decode_entity))
end


-- Where a tag that begins before `from` ends: the position of its ">". Quoted attributes may hold one. A quote that is never
-- closed is a character like any other, and is remembered, so that nothing is searched for twice.
local function tag_end(self, from)
  local position = from
  while true do
    local at = self.html:find("[>\"']", position)
    local mark = at and self.html:sub(at, at)
    if not at or mark == ">" then
      return at
    end
    local closing = not self.is_unclosed[mark] and self.html:find(mark, at + 1, true)
    self.is_unclosed[mark] = not closing
    position = (closing or at) + 1
  end
end


-- At least so many line breaks come before what is said next.
local function break_line(self, count)
  self.breaks = math.max(self.breaks, count)
end


local function say(self, text)
  if self.breaks > 0 then
    text = text:gsub("^ ", "")
    if text == "" then
      return
    end
    self.out[#self.out + 1] = ("\n"):rep(#self.out > 0 and self.breaks or 0)
    self.breaks = 0
  end
  self.out[#self.out + 1] = text
end


-- What stands between two tags. Spaces that count, those of <pre>, are \1 until the end.
local function say_text(self, text)
  if self.is_pre then
    text = text:gsub("\r\n?", "\n"):gsub("\t", "    "):gsub(" ", "\1")
  else
    text = text:gsub("%s+", " ")
  end
  say(self, decode(text))
end


local openers = {}


function openers.a(self, attributes)
  local link = attributes:match("[hH][rR][eE][fF]%s*=%s*\"([^\"]*)\"") or attributes:match("[hH][rR][eE][fF]%s*=%s*'([^']*)'")
    or attributes:match("[hH][rR][eE][fF]%s*=%s*([^%s\"'>]+)")
  link = link and decode(link)
  if link and not link:find("^#") and not link:lower():find("^%s*javascript:") and not self.link then
    self.link = link:gsub("%s+", "")
    say(self, "[")
  end
end


function openers.img(self, attributes)
  self.images = self.images + 1
  local description = attributes:match("%f[%w][aA][lL][tT]%s*=%s*\"([^\"]*)\"")
    or attributes:match("%f[%w][aA][lL][tT]%s*=%s*'([^']*)'")
  if description and description:find("%S") then
    say(self, "(image: " .. decode(description) .. ")")
  end
end


function openers.li(self)
  break_line(self, 1)
  say(self, "- ")
end


function openers.td(self)
  say(self, " | ")
end


openers.th = openers.td


local function close_link(self)
  if self.link then
    say(self, "](" .. self.link .. ")")
    self.link = nil
  end
end


-- Goes behind the end of an element whose content is dropped; without an end nothing is left. What closes them all is searched
-- for once.
local function skip_element(self, name, from)
  self.left_out[name] = true
  local closing = self.lower:find("</" .. name, from, true)
  return closing and (tag_end(self, closing + 2) or #self.html) + 1 or #self.html + 1
end


-- One tag; returns the position behind it.
local function tag(self, slash, name, from, to)
  self.is_pre = name == "pre" and slash == "" or self.is_pre and name ~= "pre"
  if slash == "" and dropped[name] then
    return skip_element(self, name, to + 1)
  elseif paragraphs[name] then
    break_line(self, 2)
    say(self, slash == "" and paragraphs[name] or "")
  elseif name == "br" then
    self.breaks = math.min(2, self.breaks + 1)
  elseif blocks[name] then
    break_line(self, 1)
  elseif slash == "/" and name == "a" then
    close_link(self)
  elseif slash == "" and openers[name] then
    openers[name](self, self.html:sub(from, to - 1))
  end
  return to + 1
end


-- What begins with "<" at `at`: returns the position behind it.
local function markup(self, at)
  if self.html:find("^<!%-%-", at) then
    local _, comment_end = self.html:find("-->", at + 4, true)
    return (comment_end or #self.html) + 1
  end
  local slash, name, behind = self.html:match("^<([/!?]?)([%a][%w:-]*)()", at)
  if not name then
    say(self, "<")
    return at + 1
  end
  local to = tag_end(self, behind)
  if not to then
    return #self.html + 1
  end
  return tag(self, slash, name:lower(), behind, to)
end


-- Spaces and empty lines as people set them.
local function tidy(text)
  text = text:gsub("[ \t\r\f\v]+", " "):gsub(" ?\n ?", "\n"):gsub("\n\n\n+", "\n\n"):gsub("%f[^\n\0]%- ?\n+", "- ")
  return (text:gsub("^%s+", ""):gsub("%s+$", ""):gsub("\1", " "))
end


---The readable text of a page, and what was left out of it in words, or nil when nothing was.
---@param html string
---@return string text
---@return string? left_out
function M.to_text(html)
  html = html:gsub("[\0\1]", " ")
  local self = {
    html = html, lower = html:lower(), out = {}, left_out = {}, images = 0, breaks = 0, is_pre = false,
    is_unclosed = { ['"'] = false, ["'"] = false },
  }
  local position = 1
  while position <= #html do
    local at = html:find("<", position, true) or #html + 1
    say_text(self, html:sub(position, at - 1))
    position = at <= #html and markup(self, at) or at
  end
  close_link(self)
  local left_out = tables.sorted_keys(self.left_out)
  if self.images > 0 then
    left_out[#left_out + 1] = ("%d image%s"):format(self.images, self.images == 1 and "" or "s")
  end
  return tidy(table.concat(self.out)), #left_out > 0 and table.concat(left_out, ", ") or nil
end


return M
