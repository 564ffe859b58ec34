-- expect: 200 body="contained"
-- CVE-2020-15888 and its like: the collector shrinks a stack that an error still points into.
local function deep(n) if n == 0 then error({ ("x"):rep(100) }) end return 1 + deep(n - 1) end
for i = 1, 60 do
  local co = coroutine.create(deep)
  coroutine.resume(co, i * 300)
  local junk = {}
  for j = 1, 200 do junk[j] = { ("z"):rep(j) } end
  coroutine.close(co)
  pcall(deep, i * 300)
end
return "contained"
