-- expect: cpu-limit
-- limits: cpu_ms=100
-- An empty string 2^62 times takes no memory, only a loop in C.
return (""):rep(1 << 62)
