-- expect: memory-limit
-- limits: memory_bytes=8388608
return #string.pack("c100000000", "x")
