-- expect: memory-limit detail="not enough memory: the limit is 67108864 bytes"
local text = "x"
while true do text = text .. text end
