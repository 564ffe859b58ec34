-- expect: memory-limit
-- limits: memory_bytes=1000
return "no room"
