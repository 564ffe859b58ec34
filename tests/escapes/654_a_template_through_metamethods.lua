-- expect: script-error detail~"stack overflow"
local value = setmetatable({}, { __index = function(t, key) return t[key] end })
return template.render("{{a.b}}", { a = value })
