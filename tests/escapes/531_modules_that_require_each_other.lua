-- expect: script-error detail~"requires itself: a \u2192 b \u2192 a"
-- files: "a.lua"="return require 'b'" "b.lua"="return require 'a'"
return require "a"
