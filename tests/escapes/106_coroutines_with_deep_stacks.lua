-- expect: memory-limit
local t = {}
local function deep(n)
  if n == 0 then coroutine.yield() else deep(n - 1) end
  return n
end
for i = 1, 1e9 do
  t[i] = coroutine.create(deep)
  coroutine.resume(t[i], 10000)
end
