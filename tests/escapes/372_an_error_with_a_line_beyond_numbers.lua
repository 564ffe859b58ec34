-- expect: script-error
error("main.lua:" .. ("9"):rep(400) .. ": x", 0)
