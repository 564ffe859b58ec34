-- expect: cpu-limit
-- limits: cpu_ms=200
-- It shows nothing, a thousand times to the power of sixteen.
local items = {}
for at = 1, 1000 do items[at] = at end
return template.render(("{{#a}}"):rep(16) .. ("{{/a}}"):rep(16), { a = items })
