-- expect: script-error detail~"more than 32 sections are open"
local done, why = pcall(template.compile, ("{{#a}}\n"):rep(200000))
error(why, 0)
