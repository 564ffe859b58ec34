-- expect: 200 body="contained"
local co = coroutine.wrap(function()
  assert(not pcall(table.sort, { 3, 2, 1 }, function() coroutine.yield() end))
  assert(not pcall(string.gsub, "x", ".", function() coroutine.yield() end))
  assert(not pcall(tostring, setmetatable({}, { __tostring = coroutine.yield })) or true)
  assert(not load(function() coroutine.yield() end))
  return "contained"
end)
local answer = co()
for _ = 1, 10 do
  if answer == "contained" then break end
  answer = co("text")
end
return answer
