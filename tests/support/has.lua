---Fails the test unless a text has that part, and says both.
---@param text string
---@param part string
return function(text, part)
  assert(text:find(part, 1, true), ("expected %q in:\n%s"):format(part, text))
end
