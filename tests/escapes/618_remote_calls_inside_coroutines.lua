-- expect: 200 body="contained"
-- binding: probe
local function work(at)
  for i = 1, 5 do
    local sent = at .. ":" .. i
    assert(probe("probe.echo", sent) == sent)
    coroutine.yield(sent)
  end
end
local many = {}
for i = 1, 100 do many[i] = coroutine.wrap(work) end
for i = 1, 5 do for at = 1, 100 do assert(many[at](at) == at .. ":" .. i) end end
local function nest(n)
  if n == 0 then return probe("probe.echo", "contained") end
  return coroutine.wrap(nest)(n - 1)
end
for depth = 1, 300, 7 do
  local done, reply = pcall(nest, depth)
  if type(reply) ~= "string" then return type(reply) end
end
return nest(50)
