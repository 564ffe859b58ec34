-- expect: 200 body="contained"
-- Lua 5.4.1 lost its place when the key under `next` was collected.
for _ = 1, 50 do
  local t = {}
  for i = 1, 50 do t[{ i }] = i t[("k"):rep(50) .. i] = i t[function() return i end] = i end
  local walk = coroutine.wrap(function()
    for key in pairs(t) do
      t[key] = nil
      coroutine.yield(true)
    end
  end)
  local junk = {}
  while walk() do for i = 1, 20 do junk[i] = { ("x"):rep(100) .. i } end end
  assert(next(t) == nil)
end
return "contained"
