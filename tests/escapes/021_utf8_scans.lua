-- expect: cpu-limit
-- limits: cpu_ms=100
local text = ("é"):rep(500000)
while true do utf8.len(text) utf8.offset(text, -400000) for _ in utf8.codes(text) do end end
