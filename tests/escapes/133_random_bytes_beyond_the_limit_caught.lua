-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
local held, count = {}, 0
for i = 1, 100000 do held[i] = false end
for i = 1, 300 do
  local done, bytes = pcall(crypto.random_bytes, 65536)
  if done then
    count = count + 1
    held[count] = bytes
  end
end
held = nil
return count * 65536 <= 8388608 and "contained" or "held " .. count * 65536 .. " bytes"
