-- expect: script-error detail~"requires itself"
return require "main"
