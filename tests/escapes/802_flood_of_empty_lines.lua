-- expect: 200 body="ok" log="log truncated: over 1000 bytes"
-- limits: log_bytes=1000
for _ = 1, 100000 do print() end
return "ok"
