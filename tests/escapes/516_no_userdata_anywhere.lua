-- expect: 200 body="contained"
-- Everything that a script can reach by keys, values, metatables, calls without arguments, and their errors.
local seen, queue = {}, { _G, request, request.headers, request.params, request.cookies, getmetatable("x") or nil }
local function see(...)
  for i = 1, select("#", ...) do
    local value = (select(i, ...))
    assert(type(value) ~= "userdata", "userdata")
    if (type(value) == "table" or type(value) == "function") and not seen[value] then
      seen[value] = true
      queue[#queue + 1] = value
    end
  end
end
local skip = { [error] = true, [coroutine.yield] = true, [coroutine.wrap] = true, [pcall] = true, [xpcall] = true }
local at = 1
while at <= #queue do
  local value = queue[at]
  if type(value) == "table" then
    for key, inner in next, value do see(key, inner) end
    see(getmetatable(value))
  elseif not skip[value] then
    see(pcall(value))
    see(pcall(value, {}))
    see(pcall(value, "x", 1))
  end
  at = at + 1
  if at > 5000 then break end
end
return at > 100 and "contained" or tostring(at)
