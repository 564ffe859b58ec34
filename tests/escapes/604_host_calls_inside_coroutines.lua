-- expect: 200 body="contained"
local function work()
  for i = 1, 10 do
    coroutine.yield(crypto.sha256("x" .. i))
    log.debug("in a coroutine", { i = i })
    time.now()
  end
end
local many = {}
for i = 1, 100 do many[i] = coroutine.wrap(work) end
local first
for _ = 1, 10 do
  for i = 1, 100 do
    local digest = many[i]()
    first = first or digest
    assert(#digest == 64)
  end
end
return first == crypto.sha256("x1") and "contained" or "?"
