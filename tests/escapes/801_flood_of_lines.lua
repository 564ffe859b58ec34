-- expect: 200 body="ok" log="log truncated: over 65536 bytes"
for i = 1, 200000 do log.info("line " .. i) end
return "ok"
