-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
-- Each error that comes up is Lua's own string, also where Python is asked for more than there is.
local held, bad, refused = {}, nil, 0
for i = 1, 100000 do held[i] = false end
local count = 0
local function fill(size) held[count + 1] = ("x"):rep(size) .. count count = count + 1 end
local calls = { crypto.random_bytes, crypto.sha256, time.now, log.info, os.time, crypto.uuid4, json.decode, url.encode }
for power = 22, 3, -1 do
  local size = 1 << power
  while pcall(fill, size) do end
end
for _ = 1, 200 do
  for i = 1, #calls do
    local done, reason = pcall(calls[i], 65536)
    if not done then
      refused = refused + 1
      if type(reason) ~= "string" then bad = type(reason) end
    end
  end
end
held = nil
return refused > 0 and not bad and "contained" or tostring(bad or refused)
