-- expect: script-error detail~"not found"
return require "\27Lua"
