-- expect: memory-limit detail~"over a quarter of the memory limit"
-- limits: memory_bytes=2000000
-- request: method="POST" body_bytes=500001
return "never"
