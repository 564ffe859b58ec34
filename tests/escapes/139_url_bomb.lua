-- expect: memory-limit
-- limits: memory_bytes=8388608
local text = ("\1"):rep(2000000)
return url.encode(text) .. html.escape(text)
