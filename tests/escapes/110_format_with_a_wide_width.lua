-- expect: script-error detail~"invalid conversion"
return string.format("%1000000000d", 1)
