-- expect: script-error detail~"attempt to index a nil value (global 'io')"
return io.popen("id"):read("a")
