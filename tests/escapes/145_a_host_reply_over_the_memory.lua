-- expect: 200 body="contained" log="not enough memory"
-- limits: memory_bytes=4194304
-- binding: probe
local done, reason = pcall(probe, "probe.bytes", "8000000")
log.info(reason)
return not done and #probe("probe.bytes", "1000000") == 1000000 and "contained" or "?"
