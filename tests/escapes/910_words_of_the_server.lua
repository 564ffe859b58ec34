-- expect: 200 body="contained"
-- Every string that a script can reach, for what it must not know.
local seen, found = {}, nil
local function look(value)
  if type(value) == "string" then
    for _, word in ipairs{ "postgres", "PICLOUD_", "/home/", "/root", "/tmp/", ".sock", "Bearer", "prelude/", ".py" } do
      if value:find(word, 1, true) and value ~= word then found = found or value:sub(1, 100) end
    end
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, inner in next, value do look(key) look(inner) end
  end
end
for name, value in next, _G do if name ~= "request" and name ~= "files" then look(name) look(value) end end
for _, part in ipairs{ "method", "path", "host", "remote_addr", "id", "trigger", "params", "query", "cookies", "headers" } do look(request[part]) end
return found or "contained"
