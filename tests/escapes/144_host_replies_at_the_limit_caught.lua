-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
-- binding: probe
local held, bad, bytes, count, size = {}, nil, 0, 0, 65536
for i = 1, 1000 do held[i] = false end
local function take()
  local reply = probe("probe.bytes", tostring(size))
  if #reply ~= size then bad = "a reply cut short" end
  bytes = bytes + size
  count = count + 1
  held[count] = reply
end
while size >= 128 and count < 1000 do
  local done, reason = pcall(take)
  if not done then
    if reason ~= "not enough memory" then bad = reason end
    size = size // 2
  end
end
held = nil
return not bad and count > 50 and bytes <= 8388608 and "contained" or tostring(bad or bytes)
