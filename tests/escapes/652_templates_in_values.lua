-- expect: 200 body="contained"
-- A value is shown and never read: not as a template, not as Lua, not as a pattern.
local values = {
  "{{secret}}", "{{{secret}}}", "{{#all}}{{secret}}{{/all}}", "]] .. secret .. [[", "%0 %1 %s %%", "\0{{secret}}", "${secret}",
  "<script>alert(1)</script>", "' onmouseover='x", "{{! }}{{secret}}", "}}{{secret}}{{", "}}}{{{secret}}}{{{",
}
for _, value in ipairs(values) do
  local data = { secret = "leaked", all = { 1 }, value = value, list = { value } }
  assert(template.render("{{{value}}}{{#list}}{{{.}}}{{/list}}", data) == value .. value)
  assert(template.render("{{value}}", data) == html.escape(value))
  local inner = template.render("{{value}}", data)
  assert(not inner:find("[<>'\"]"), inner)
end
for _, name in ipairs{ "_G", "load", "os.time", "string.rep", "__index", "value.upper", "list.__index" } do
  assert(template.render("{{" .. name .. "}}", { value = "x", list = {} }) == "", name)
end
return "contained"
