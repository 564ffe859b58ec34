-- expect: 200 body="contained"
for _, name in ipairs{ "kv", "http", "secrets", "events", "jobs", "schedule", "invoke", "template" } do
  local library = _G[name]
  if library ~= nil then
    assert(getmetatable(library) == nil or getmetatable(library) == false, name)
    local done, reason = pcall(function() return library.nothing_like_it() end)
    assert(not done and type(reason) == "string", name)
    done, reason = pcall(function() for _ in pairs(library) do end return library() end)
    assert(done or type(reason) == "string", name)
  end
end
return "contained"
