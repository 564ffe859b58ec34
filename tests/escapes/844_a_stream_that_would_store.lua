-- expect: 200 body="contained"
return stream(function(write)
  for _, call in ipairs{ kv.get, kv.set, kv.delete, kv.incr, invoke } do
    local done, why = pcall(call, "sentinel", {})
    assert(not done, why)
  end
  write("contained")
end)
