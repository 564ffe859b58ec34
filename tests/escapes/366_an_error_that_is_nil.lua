-- expect: script-error detail~"nil"
error(nil)
