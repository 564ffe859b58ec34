-- expect: 200 body="contained"
-- Strings and numbers that came from Python are Lua's own.
for _, value in ipairs{ crypto.sha256("x"), crypto.random_bytes(4), time.now(), time.unix(), request.id, request.body } do
  for _, name in ipairs{ "__class__", "__globals__", "__traceback__", "__init__", "__subclasses__", "tb_frame", "gi_frame" } do
    local done, found = pcall(function() return value[name] end)
    assert(not done or found == nil, name)
  end
end
return "contained"
