-- expect: 200 body="contained"
for _, name in ipairs{ "eval", "builtins", "as_attrgetter", "as_itemgetter", "as_function", "none", "iter", "iterex", "enumerate", "set_attr" } do
  assert(_G[name] == nil and not pcall(load("return python." .. name)), name)
end
for _, value in ipairs{ print, log.info, crypto.sha256, json.encode, request.json or print, os.time } do
  assert(type(value) == "function")
  local done, found = pcall(function() return value.__globals__ end)
  assert(not done and type(found) == "string")
end
return "contained"
