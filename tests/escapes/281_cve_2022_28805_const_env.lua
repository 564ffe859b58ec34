-- expect: 200 body="contained"
-- The parser read beyond its heap when _ENV was a constant.
local done, reason = pcall(load("local _ENV <const> = 1; x = 'hi'"))
assert(not done and reason:find("index a number value", 1, true), reason)
for _, value in ipairs{ "nil", "true", "'x'", "1.5", "function() end" } do
  local chunk = assert(load("local _ENV <const> = " .. value .. " return function() x.y, z = w, #v return _ENV end"))
  pcall(function() return chunk()() end)
end
return "contained"
