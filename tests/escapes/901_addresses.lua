-- expect: 200 body="contained"
-- again: same
-- Each object is told from others by a number of its own, which says nothing of where it is.
local function small(text)
  local digits = text:match("0x(%x+)")
  assert(digits and tonumber(digits, 16) < 100000, text)
  return digits
end
local t, f, co = {}, function() end, coroutine.create(print)
for _, value in ipairs{ t, f, co, print, string.format, _G, request } do
  assert(small(tostring(value)) == small(string.format("%p", value)))
  assert(small(string.format("%s", value)) == small(("%-40s|"):format(value)))
end
small(string.format("%p", "a string that is long enough to be an object of its own"))
assert(string.format("%p", 5) == "(null)" and tostring(t) ~= tostring({}))
return "contained"
