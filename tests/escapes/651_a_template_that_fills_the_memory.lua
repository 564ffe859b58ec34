-- expect: memory-limit
-- limits: memory_bytes=8388608
local items = {}
for at = 1, 1000 do items[at] = ("x"):rep(1000) end
return template.render("{{#a}}{{#a}}{{.}}{{/a}}{{/a}}", { a = items })
