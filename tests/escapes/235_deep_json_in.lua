-- expect: script-error detail~"nested deeper than 128"
return json.decode(("["):rep(1000000))
