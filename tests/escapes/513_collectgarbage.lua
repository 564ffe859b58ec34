-- expect: script-error detail~"attempt to call a nil value (global 'collectgarbage')"
collectgarbage("generational")
