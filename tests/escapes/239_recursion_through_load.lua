-- expect: memory-limit
-- limits: memory_bytes=8388608
function deep() return load("return deep() + 1")() + 1 end
return deep()
