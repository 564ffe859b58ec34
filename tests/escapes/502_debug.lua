-- expect: script-error detail~"attempt to index a nil value (global 'debug')"
return debug.getinfo(1)
