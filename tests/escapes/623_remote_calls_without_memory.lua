-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
-- binding: probe
local held, count, bad, refused = {}, 0, nil, 0
for i = 1, 100000 do held[i] = false end
local function fill(size) held[count + 1] = ("x"):rep(size) .. count count = count + 1 end
for power = 20, 3, -1 do while pcall(fill, 1 << power) do end end
for _ = 1, 100 do
  local done, reason = pcall(probe, "probe.bytes", "65536")
  if done then bad = "held more than there is" break end
  refused = refused + 1
  if reason ~= "not enough memory" then bad = tostring(reason) break end
end
held = nil
return not bad and refused == 100 and probe("probe.echo", "contained") or tostring(bad)
