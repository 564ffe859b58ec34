-- expect: bad-response detail~"contains itself"
local a, b, c = {}, {}, {}
a[1], b[1], c[1] = b, c, a
return { body = { deep = a } }
